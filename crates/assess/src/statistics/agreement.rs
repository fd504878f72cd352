//! How well two measurements of the same things agree. A result is NaN where there are too few of them.

use super::descriptive::{mean, products, squares, standard_deviation};
use super::distributions::{t_quantile, t_two_sided};

/// Differences of paired measurements, second minus first, with the limits within which 95 % of them lie if they are
/// normal (J. M. Bland, D. G. Altman, 1986).
#[derive(Debug, Clone, PartialEq)]
pub struct BlandAltman {
    /// Number of pairs.
    pub n: usize,
    /// Mean difference.
    pub bias: f64,
    /// Its 95 % confidence interval, bias ± t SD / √n.
    pub bias_interval: [f64; 2],
    /// Standard deviation of the differences.
    pub deviation: f64,
    /// Limits of agreement, bias ± 1.96 SD.
    pub limits: [f64; 2],
    /// Confidence intervals of the lower and the upper limit, limit ± t SD √(3/n).
    pub limit_intervals: [[f64; 2]; 2],
    /// The differences against the means of the pairs: a slope is a bias that grows with the size.
    pub proportional: Line,
}

impl BlandAltman {
    /// Compares `second` with `first`.
    pub fn new(first: &[f64], second: &[f64]) -> Self {
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
        let means: Vec<f64> = first.iter().zip(second).map(|(a, b)| (a + b) / 2.0).collect();
        let n = differences.len();
        let (bias, deviation) = (mean(&differences), standard_deviation(&differences));
        let around = |centre: f64, reach: f64| [centre - reach, centre + reach];
        let t = t_quantile(0.975, n as f64 - 1.0);
        let limits = around(bias, 1.96 * deviation);
        let reach = t * deviation * (3.0 / n as f64).sqrt();
        Self {
            n,
            bias,
            bias_interval: around(bias, t * deviation / (n as f64).sqrt()),
            deviation,
            limits,
            limit_intervals: limits.map(|limit| around(limit, reach)),
            proportional: Line::fit(&means, &differences),
        }
    }
}

/// A straight line by least squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Slope.
    pub slope: f64,
    /// Its 95 % confidence interval.
    pub slope_interval: [f64; 2],
    /// Two-sided p of a slope of 0.
    pub slope_p: f64,
    /// Value at 0.
    pub intercept: f64,
    /// Pearson's correlation.
    pub correlation: f64,
}

impl Line {
    /// The line through (x, y); all NaN for fewer than three points or x of one value.
    pub fn fit(x: &[f64], y: &[f64]) -> Self {
        let (n, sxx, sxy, syy) = (x.len(), squares(x), products(x, y), squares(y));
        if n < 3 || sxx <= 0.0 {
            let nan = f64::NAN;
            return Self {
                slope: nan,
                slope_interval: [nan; 2],
                slope_p: nan,
                intercept: nan,
                correlation: nan,
            };
        }
        let slope = sxy / sxx;
        let correlation = if syy > 0.0 { (sxy / (sxx * syy).sqrt()).clamp(-1.0, 1.0) } else { f64::NAN };
        let degrees = (n - 2) as f64;
        let residual = (syy - slope * sxy).max(0.0);
        let error = (residual / degrees / sxx).sqrt();
        let reach = t_quantile(0.975, degrees) * error;
        let slope_p = if error == 0.0 && slope == 0.0 { 1.0 } else { t_two_sided(slope / error, degrees) };
        Self {
            slope,
            slope_interval: [slope - reach, slope + reach],
            slope_p,
            intercept: mean(y) - slope * mean(x),
            correlation,
        }
    }
}

/// Lin's concordance correlation coefficient (1989), with variances divided by n.
pub fn concordance(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    2.0 * products(a, b) / (squares(a) + squares(b) + n * (mean(a) - mean(b)).powi(2))
}

/// ICC(2,1) of P. E. Shrout and J. L. Fleiss (1979) for two measurements: two-way random effects, absolute agreement, single
/// measurement.
pub fn intraclass_correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    if n < 2.0 {
        return f64::NAN;
    }
    let pairs: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect();
    let total = mean(&pairs);
    let subjects = 2.0 * squares(&pairs) / (n - 1.0);
    let measurements = n * ((mean(a) - total).powi(2) + (mean(b) - total).powi(2));
    let all: f64 = a.iter().chain(b).map(|value| (value - total).powi(2)).sum();
    let error = (all - 2.0 * squares(&pairs) - measurements).max(0.0) / (n - 1.0);
    (subjects - error) / (subjects + error + 2.0 * (measurements - error) / n)
}
