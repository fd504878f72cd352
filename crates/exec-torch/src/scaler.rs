//! The scale of the loss in f16 trainings, as PyTorch's `GradScaler` with its defaults moves it: halved after a step whose
//! gradients overflowed, which is left out, and doubled after 2000 good ones in a row.

/// First scale.
const INITIAL: f64 = 65536.0;
/// Good steps after which the scale is doubled.
const INTERVAL: u32 = 2000;
/// Scales below this mean that the gradients are not finite for other reasons than their scale.
const SMALLEST: f64 = 1.0 / 1024.0;

/// The scale and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GradientScaler {
    scale: f64,
    good_steps: u32,
}

impl Default for GradientScaler {
    fn default() -> Self {
        Self { scale: INITIAL, good_steps: 0 }
    }
}

impl GradientScaler {
    /// What the loss is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Takes note of a step, and says whether it counts.
    pub(crate) fn accept(&mut self, finite: bool) -> bool {
        if finite {
            self.good_steps += 1;
            if self.good_steps == INTERVAL {
                (self.scale, self.good_steps) = (self.scale * 2.0, 0);
            }
        } else {
            (self.scale, self.good_steps) = (self.scale / 2.0, 0);
        }
        finite
    }

    /// Whether smaller scales are of no use.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.scale < SMALLEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_moves_as_pytorchs_does() {
        let mut scaler = GradientScaler::default();
        assert!(!scaler.accept(false));
        assert_eq!(scaler.scale(), 32768.0);
        (0..1999).for_each(|_| assert!(scaler.accept(true)));
        assert_eq!(scaler.scale(), 32768.0);
        assert!(scaler.accept(true));
        assert_eq!(scaler.scale(), 65536.0);
        (0..1999).for_each(|_| assert!(scaler.accept(true)));
        assert!(!scaler.accept(false) && scaler.accept(true));
        assert_eq!(scaler.scale(), 32768.0);
        (0..25).for_each(|_| assert!(!scaler.accept(false)));
        assert!(!scaler.is_exhausted() && !scaler.accept(false) && scaler.is_exhausted());
    }
}
