//! Polynomial decay.

use super::Schedule;

/// nnU-Net's default: `initial * (1 - epoch / epochs)^exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolynomialDecay {
    /// Rate of epoch 0.
    pub initial: f64,
    /// Number of epochs of the whole training.
    pub epochs: usize,
    /// Exponent of the decay.
    pub exponent: f64,
}

impl PolynomialDecay {
    /// nnU-Net's exponent.
    pub const EXPONENT: f64 = 0.9;

    /// nnU-Net's default, with exponent 0.9.
    pub fn new(initial: f64, epochs: usize) -> Self {
        Self { initial, epochs, exponent: Self::EXPONENT }
    }
}

impl Schedule for PolynomialDecay {
    /// 0 after the last epoch.
    fn rate(&self, epoch: usize) -> f64 {
        let left = 1.0 - epoch as f64 / self.epochs as f64;
        self.initial * left.max(0.0).powf(self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decays_from_the_initial_rate_to_zero() {
        let decay = PolynomialDecay::new(0.01, 1000);
        assert_eq!(decay.rate(0), 0.01);
        // 0.01 * (1 - 500/1000)^0.9, as PyTorch's reference run logs it.
        assert!((decay.rate(500) - 0.005_358_867_312_681_466).abs() < 1e-15);
        assert!(decay.rate(999) > 0.0);
        assert_eq!(decay.rate(1000), 0.0);
        assert_eq!(decay.rate(2000), 0.0);
    }
}
