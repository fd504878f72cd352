//! The mean of the largest cross-entropies, over all samples of a batch: of voxels, or of regions at voxels.

use nnunet_graph::loss::{LossError, TopKSpec};
use rayon::prelude::*;

use super::cross_entropy::CrossEntropy;
use crate::loss::block::RUN;
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

/// Values of a unit of work.
const CHUNK: usize = 1 << 16;

pub(in crate::loss) struct TopK {
    voxels: CrossEntropy,
    value: f64,
    /// The smallest value that takes part.
    threshold: f32,
    /// Derivative of the mean by values above the threshold, and by those that equal it.
    shares: [f64; 2],
}

impl TopK {
    pub(in crate::loss) fn new(spec: &TopKSpec, field: &Field<'_>) -> Result<Self, LossError> {
        let voxels = CrossEntropy::new(&spec.cross_entropy, field)?;
        let of_spans = field.sweep(Vec::new, |values: &mut Vec<f32>, run| {
            let mut row = [0.0f32; RUN];
            for_each_row(&voxels, run, &mut row, |_, row| values.extend_from_slice(row));
        });
        let values: Vec<f32> = of_spans.into_iter().flat_map(|(_, values)| values).collect();
        // As Python's int(count * k / 100), but never none.
        let taken = ((values.len() as f64 * spec.percent / 100.0) as usize).clamp(1, values.len().max(1));
        let threshold = kth_largest(&values, taken);
        // What is not a number is above every threshold.
        let above = |value: f32| !(value <= threshold);
        let of_chunk = |chunk: &[f32]| {
            let (mut sum, mut over, mut equal) = (0.0f64, 0usize, 0usize);
            for &value in chunk {
                sum += if above(value) { f64::from(value) } else { 0.0 };
                over += usize::from(above(value));
                equal += usize::from(value == threshold);
            }
            (sum, over, equal)
        };
        let parts: Vec<_> = values.par_chunks(CHUNK).map(of_chunk).collect();
        let sum: f64 = parts.iter().map(|(sum, ..)| sum).sum();
        let over: usize = parts.iter().map(|(_, over, _)| over).sum();
        let equal: usize = parts.iter().map(|(.., equal)| equal).sum();
        let among_equal = taken.saturating_sub(over) as f64;
        let rest = if among_equal > 0.0 { among_equal * f64::from(threshold) } else { 0.0 };
        let share = 1.0 / taken as f64;
        // Equal values take equal parts of the places that are left, so that the order of voxels does not matter.
        let shares = [share, share * among_equal / equal.max(1) as f64];
        Ok(Self { voxels, value: (sum + rest) * share, threshold, shares })
    }
}

impl Term for TopK {
    fn finish(&mut self, _sums: &[f64]) -> f64 {
        self.value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let [above, equal] = self.shares.map(|share| (share * weight) as f32);
        let rows = if run.of_regions() { run.channels() } else { 1 };
        let mut factors = vec![[0.0f32; RUN]; rows];
        let mut row = [0.0f32; RUN];
        for_each_row(&self.voxels, run, &mut row, |at, row| {
            for (factor, &value) in factors[at].iter_mut().zip(row) {
                *factor = match value.partial_cmp(&self.threshold) {
                    Some(std::cmp::Ordering::Less) => 0.0,
                    Some(std::cmp::Ordering::Equal) => equal,
                    Some(std::cmp::Ordering::Greater) | None => above,
                };
            }
        });
        self.voxels.add_gradient(run, |c| &factors[c.min(rows - 1)], gradient);
    }
}

/// Calls `with` with the values of a run that are compared: one row of voxels, or one for each region.
fn for_each_row(voxels: &CrossEntropy, run: &Run, row: &mut [f32; RUN], mut with: impl FnMut(usize, &[f32])) {
    let row = &mut row[..run.length];
    row.fill(0.0);
    for c in 0..run.channels() {
        voxels.add_channel(run, c, row);
        if run.of_regions() {
            not_negative(row);
            with(c, row);
            row.fill(0.0);
        }
    }
    if !run.of_regions() {
        not_negative(row);
        with(0, row);
    }
}

/// Rounding may leave values just below zero; their bits must be in the order of the values.
fn not_negative(values: &mut [f32]) {
    for value in values {
        *value = if *value <= 0.0 { 0.0 } else { *value };
    }
}

/// The `k`-th largest of `values`, which are not below zero; values that are no numbers are the largest. Counts by the upper
/// half of the bits, then by the lower half of those that share the upper one.
fn kth_largest(values: &[f32], k: usize) -> f32 {
    let bits = |value: &f32| value.to_bits() & 0x7fff_ffff;
    let (upper, left) = nth_from_top(&histogram(values, |v| Some(bits(v) >> 16)), k);
    let lower = |v: &f32| (bits(v) >> 16 == upper).then_some(bits(v) & 0xffff);
    let (lower, _) = nth_from_top(&histogram(values, lower), left);
    f32::from_bits(upper << 16 | lower)
}

fn histogram(values: &[f32], bin: impl Fn(&f32) -> Option<u32> + Sync) -> Vec<u64> {
    let empty = || vec![0u64; 1 << 16];
    values
        .par_chunks(CHUNK.max(values.len() / 64 + 1))
        .map(|chunk| {
            let mut counts = empty();
            chunk.iter().filter_map(&bin).for_each(|bin| counts[bin as usize] += 1);
            counts
        })
        .reduce(empty, |mut a, b| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        })
}

/// The bin that holds the `k`-th value from the top, and its place among the values of that bin.
fn nth_from_top(counts: &[u64], k: usize) -> (u32, usize) {
    let mut left = k as u64;
    for (bin, &count) in counts.iter().enumerate().rev() {
        if left <= count {
            return (bin as u32, left as usize);
        }
        left -= count;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_largest_is_that_of_sorting() {
        let values: Vec<f32> = (0..5000u32).map(|i| (i * 7919 % 1009) as f32 / 64.0).collect();
        let mut sorted = values.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for k in [1, 2, 17, 500, 4999, 5000] {
            assert_eq!(kth_largest(&values, k), sorted[k - 1], "{k}");
        }
        assert_eq!(kth_largest(&[0.5], 1), 0.5);
        assert!(kth_largest(&[0.5, f32::NAN, 3.0], 1).is_nan());
        assert_eq!(kth_largest(&[0.5, f32::NAN, 3.0], 2), 3.0);
    }
}
