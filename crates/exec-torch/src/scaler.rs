//! The scale of the loss in f16 trainings, as PyTorch's `GradScaler` with its defaults moves it: halved after a step whose
//! gradients overflowed, which is left out, and doubled after 2000 good ones in a row.

use nnunet_graph::backend::GradientScale;

/// First scale.
const INITIAL: f64 = 65536.0;
/// Good steps after which the scale is doubled.
const INTERVAL: u32 = 2000;
/// Scales below this mean that the gradients are not finite for other reasons than their scale.
const SMALLEST: f64 = 1.0 / 1024.0;

/// The scale and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GradientScaler(GradientScale);

impl Default for GradientScaler {
    fn default() -> Self {
        Self(GradientScale { scale: INITIAL, good_steps: 0 })
    }
}

impl GradientScaler {
    /// What the loss is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.0.scale
    }

    /// All of it.
    pub(crate) fn state(&self) -> GradientScale {
        self.0
    }

    /// The scaler in another state; a scale that is none is left out.
    pub(crate) fn restore(&mut self, state: GradientScale) {
        if state.scale.is_finite() && state.scale > 0.0 {
            self.0 = state;
        }
    }

    /// Takes note of a step, and says whether it counts.
    pub(crate) fn accept(&mut self, finite: bool) -> bool {
        let GradientScale { scale, good_steps } = self.0;
        self.0 = match finite {
            false => GradientScale { scale: scale / 2.0, good_steps: 0 },
            true if good_steps + 1 >= INTERVAL => GradientScale { scale: scale * 2.0, good_steps: 0 },
            true => GradientScale { scale, good_steps: good_steps + 1 },
        };
        finite
    }

    /// Whether smaller scales are of no use.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.scale < SMALLEST
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
