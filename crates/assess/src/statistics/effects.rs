//! Differences between groups and their tests.

use super::descriptive::{mean, squares, standard_deviation};
use super::distributions::{normal_cdf, t_quantile, t_two_sided, t_upper};

/// A difference of means with Student's or Welch's test against 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// The difference.
    pub difference: f64,
    /// Its 95 % confidence interval.
    pub interval: [f64; 2],
    /// Its standard error.
    pub error: f64,
    /// Difference / standard error.
    pub t: f64,
    /// Degrees of freedom.
    pub degrees: f64,
    /// Two-sided p.
    pub p: f64,
}

impl Test {
    fn new(difference: f64, error: f64, degrees: f64) -> Self {
        let t = if error == 0.0 && difference == 0.0 { 0.0 } else { difference / error };
        let reach = t_quantile(0.975, degrees) * error;
        Self {
            difference,
            interval: [difference - reach, difference + reach],
            error,
            t,
            degrees,
            p: t_two_sided(t, degrees),
        }
    }
}

/// The mean of `values` against 0; NaN for fewer than two. Of differences of pairs this is the paired test.
pub fn one_sample(values: &[f64]) -> Test {
    let n = values.len() as f64;
    Test::new(mean(values), standard_deviation(values) / n.sqrt(), n - 1.0)
}

/// The mean of `b` minus that of `a`, with unequal variances (Welch); NaN for groups of fewer than two.
pub fn welch(a: &[f64], b: &[f64]) -> Test {
    let variance = |group: &[f64]| standard_deviation(group).powi(2) / group.len() as f64;
    let (va, vb) = (variance(a), variance(b));
    let by_degrees = |variance: f64, group: &[f64]| variance * variance / (group.len() as f64 - 1.0);
    let degrees = (va + vb).powi(2) / (by_degrees(va, a) + by_degrees(vb, b));
    Test::new(mean(b) - mean(a), (va + vb).sqrt(), degrees)
}

/// Two-sided p of the test of Mann and Whitney: normal approximation with correction for ties and continuity. NaN where
/// a group is empty or all values are one.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|&v| (v, true)).chain(b.iter().map(|&v| (v, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks_of_a, mut ties, mut at) = (0.0, 0.0, 0);
    for equal in all.chunk_by(|x, y| x.0 == y.0) {
        let size = equal.len() as f64;
        let rank = at as f64 + (size + 1.0) / 2.0;
        ranks_of_a += rank * equal.iter().filter(|(_, of_a)| *of_a).count() as f64;
        ties += size.powi(3) - size;
        at += equal.len();
    }
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let n = na + nb;
    let u = ranks_of_a - na * (na + 1.0) / 2.0;
    let larger = u.max(na * nb - u);
    let deviation = (na * nb / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)))).sqrt();
    if deviation.is_nan() || deviation == 0.0 {
        return f64::NAN;
    }
    let p = 2.0 * normal_cdf(-(larger - na * nb / 2.0 - 0.5) / deviation);
    p.min(1.0)
}

/// Hedges' g: the difference of the means, `b` minus `a`, in pooled standard deviations, corrected for small groups by
/// 1 - 3 / (4 N - 9).
pub fn hedges_g(a: &[f64], b: &[f64]) -> f64 {
    let n = (a.len() + b.len()) as f64;
    let pooled = ((squares(a) + squares(b)) / (n - 2.0)).sqrt();
    (mean(b) - mean(a)) / pooled * (1.0 - 3.0 / (4.0 * n - 9.0))
}

/// The p of two one-sided tests (TOST): small where the difference certainly lies within ± `margin`.
pub fn equivalence(test: &Test, margin: f64) -> f64 {
    let above_lower = t_upper((test.difference + margin) / test.error, test.degrees);
    let below_upper = t_upper((margin - test.difference) / test.error, test.degrees);
    above_lower.max(below_upper)
}
