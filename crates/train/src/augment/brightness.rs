//! Multiplicative brightness: each channel times a factor.

use super::random::FactorRange;

/// How often and how strongly brightness changes; every channel of a chosen sample has its own factor.
#[derive(Debug, Clone, PartialEq)]
pub struct BrightnessPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Factor.
    pub factor: FactorRange,
}

/// Multiplies every element by `factor`.
pub fn scale_brightness(channel: &mut [f32], factor: f32) {
    for value in channel {
        *value *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_scaled() {
        let mut channel = [1.0, -2.0, 0.0];
        scale_brightness(&mut channel, 0.5);
        assert_eq!(channel, [0.5, -1.0, 0.0]);
    }
}
