//! Means and spreads.

use super::bootstrap::percentile;

/// The mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 0.5)
}

/// The standard deviation of a sample (n - 1); NaN of fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 { f64::NAN } else { (squares(values) / (values.len() - 1) as f64).sqrt() }
}

/// The sum of the squared deviations from the mean.
pub(super) fn squares(values: &[f64]) -> f64 {
    products(values, values)
}

/// The sum of the products of the deviations from the means.
pub(super) fn products(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum()
}
