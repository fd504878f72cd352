//! The exponential function in a form that compilers turn into vector code.

/// Adding and subtracting this rounds numbers of magnitude below 2^22 to integers.
const ROUND: f32 = 12_582_912.0;
/// Arguments below this have exponentials at the edge of the normal numbers; they are raised to it.
const SMALLEST: f32 = -87.0;

/// e^x for x <= 0, within 2 units in the last place; 1.6e-38 for everything below -87. NaN stays NaN.
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < SMALLEST { SMALLEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts so that n ln 2 is exact.
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let mantissa = p * r * r + r + 1.0;
    // The integer n sits in the lowest bits of `shifted`.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    mantissa * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_f64() {
        for i in 0..870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let found = f64::from(exp_nonpositive(x));
            assert!((found / exact - 1.0).abs() < 2.4e-7, "{x}: {found} {exact}");
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert!(exp_nonpositive(-1e30) < 2e-38 && exp_nonpositive(f32::NEG_INFINITY) < 2e-38);
        assert!(exp_nonpositive(f32::NAN).is_nan());
    }
}
