//! Mean, standard deviation and extremes of one channel, accumulated in f64.

/// Elements that are summed in f32 lanes before they go into the f64 total.
const BLOCK: usize = 512;
const LANES: usize = 8;

/// Sum of `term` over all elements: short partial sums in f32, added up in f64.
#[inline(always)]
fn sum_of(values: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0f64;
    for block in values.chunks(BLOCK) {
        let mut lanes = [0.0f32; LANES];
        let chunks = block.chunks_exact(LANES);
        let rest: f32 = chunks.remainder().iter().map(|v| term(*v)).sum();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += term(*value);
            }
        }
        total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>() + f64::from(rest);
    }
    total
}

/// Arithmetic mean; 0 for an empty slice.
pub(super) fn mean(values: &[f32]) -> f64 {
    sum_of(values, |v| v) / values.len().max(1) as f64
}

/// Mean and unbiased standard deviation.
pub(super) fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let mean = mean(values);
    let centre = mean as f32;
    let squares = sum_of(values, |v| (v - centre) * (v - centre));
    // The centre was rounded to f32; the second term takes that back.
    let correction = values.len() as f64 * (mean - f64::from(centre)).powi(2);
    (mean, ((squares - correction).max(0.0) / values.len().saturating_sub(1).max(1) as f64).sqrt())
}

/// Smallest and largest element; (inf, -inf) for an empty slice.
pub(super) fn extremes(values: &[f32]) -> (f32, f32) {
    let mut low = [f32::INFINITY; LANES];
    let mut high = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
            high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
        }
    }
    let low = low.iter().chain(rest).copied().fold(f32::INFINITY, f32::min);
    let high = high.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_plain_f64_sums() {
        let values: Vec<f32> = (0..1237).map(|i| 1000.0 + ((i * 7919) % 613) as f32 * 0.01).collect();
        let exact = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 1237.0;
        let deviation = (values.iter().map(|v| (f64::from(*v) - exact).powi(2)).sum::<f64>() / 1236.0).sqrt();
        let (mean, found) = mean_and_deviation(&values);
        assert!((mean - exact).abs() < 1e-4, "{mean} {exact}");
        assert!((found / deviation - 1.0).abs() < 1e-5, "{found} {deviation}");
        assert_eq!(extremes(&values), (1000.0, 1000.0 + 612.0 * 0.01));
    }
}
