//! Percentiles and medians as NumPy computes them (linear interpolation), in f64.

/// The `q`th percentile (0 to 100) of `values`; NaN for an empty slice.
pub fn percentile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = last as f64 * (q / 100.0);
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let fraction = position - below as f64;
    let (a, b) = (sorted[below], sorted[above]);
    // Interpolation from the nearer end, so that both ends are met exactly.
    if fraction >= 0.5 { b - (b - a) * (1.0 - fraction) } else { a + (b - a) * fraction }
}

/// The median of `values`; NaN for an empty slice.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 50.0), 2.0);
        assert_eq!(percentile(&[1.0, 2.0], 50.0), 1.5);
        assert_eq!(percentile(&[0.0, 10.0], 10.0), 1.0);
        assert_eq!(percentile(&[4.0], 10.0), 4.0);
        assert!(percentile(&[], 10.0).is_nan());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
