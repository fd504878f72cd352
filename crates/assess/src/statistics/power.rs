//! How many subjects show an effect with 80 % power at a two-sided level of 5 %.

use super::distributions::{noncentral_t_cdf, normal_quantile, t_quantile};

const POWER: f64 = 0.8;
/// Beyond that an effect counts as none.
const MOST: u64 = 100_000_000;

/// Subjects in each of two groups of one size, by Student's test, for a difference of `effect` standard deviations. `None`
/// without an effect.
pub fn subjects_for_groups(effect: f64) -> Option<u64> {
    smallest(effect, 2.0, |n| ((n / 2.0).sqrt(), 2.0 * n - 2.0))
}

/// Subjects measured twice, by the paired test, for a mean change of `effect` standard deviations of the changes. `None`
/// without an effect.
pub fn subjects_for_pairs(effect: f64) -> Option<u64> {
    smallest(effect, 1.0, |n| (n.sqrt(), n - 1.0))
}

/// The smallest n with enough power; `of` gives the factor of the effect in the test's shift, and degrees of freedom.
fn smallest(effect: f64, groups: f64, of: impl Fn(f64) -> (f64, f64)) -> Option<u64> {
    let effect = effect.abs();
    if effect.is_nan() || effect == 0.0 {
        return None;
    }
    if effect.is_infinite() {
        return Some(2);
    }
    let power = |n: u64| {
        let (factor, degrees) = of(n as f64);
        let (shift, critical) = (effect * factor, t_quantile(0.975, degrees));
        1.0 - noncentral_t_cdf(critical, degrees, shift) + noncentral_t_cdf(-critical, degrees, shift)
    };
    // The normal approximation is a little too small.
    let by_normal = groups * ((normal_quantile(0.975) + normal_quantile(POWER)) / effect).powi(2);
    if by_normal > MOST as f64 {
        return None;
    }
    let mut n = (by_normal.floor() as u64).saturating_sub(2).max(2);
    while power(n) < POWER {
        n += 1;
    }
    Some(n)
}
