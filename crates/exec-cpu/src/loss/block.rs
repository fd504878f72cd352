//! Runs of voxels that one thread works on, the same whatever the number of threads.

use nnunet_graph::Tensor;

/// Voxels of a unit of work.
pub(super) const BLOCK: usize = 8192;
/// Voxels whose sums are kept in f32.
pub(super) const RUN: usize = 512;
/// Independent sums within a run; as wide as the widest vector registers.
const LANES: usize = 16;

/// Voxels `start..start + length` of sample `n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) n: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// All spans of `samples` samples of `voxels` voxels, in order.
pub(super) fn spans(samples: usize, voxels: usize) -> Vec<Span> {
    (0..samples)
        .flat_map(|n| {
            (0..voxels).step_by(BLOCK).map(move |start| Span { n, start, length: BLOCK.min(voxels - start) })
        })
        .collect()
}

/// The channels of each of [`spans`] of `tensor`, writable, in the same order.
pub(super) fn split_spans(tensor: &mut Tensor) -> Vec<Vec<&mut [f32]>> {
    let (voxels, channels) = (tensor.voxels(), tensor.shape[1]);
    if voxels == 0 || channels == 0 {
        return Vec::new();
    }
    let mut result = Vec::new();
    for sample in tensor.data.chunks_exact_mut(voxels * channels) {
        let first = result.len();
        result.resize_with(first + voxels.div_ceil(BLOCK), || Vec::with_capacity(channels));
        for channel in sample.chunks_exact_mut(voxels) {
            for (block, part) in channel.chunks_mut(BLOCK).enumerate() {
                result[first + block].push(part);
            }
        }
    }
    result
}

/// The channels of a span of `tensor`.
pub(super) fn channels_of(tensor: &Tensor, span: Span) -> Vec<&[f32]> {
    (0..tensor.shape[1]).map(|c| &tensor.channel(span.n, c)[span.start..span.start + span.length]).collect()
}

/// Sum of `term(i)` for i in 0..length (at most [`RUN`]), in a fixed order.
#[inline(always)]
pub(super) fn run_sum(length: usize, term: impl Fn(usize) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let whole = length / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(i + lane);
        }
    }
    let rest: f64 = (whole..length).map(|i| f64::from(term(i))).sum();
    lanes.iter().map(|v| f64::from(*v)).sum::<f64>() + rest
}

/// Sum of ln(values), all in [1, 1e18]: one logarithm per 16 values.
pub(super) fn log_sum(values: &[f32]) -> f64 {
    values.chunks(16).map(|chunk| chunk.iter().map(|v| f64::from(*v)).product::<f64>().ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_their_parts_cover_every_voxel_once() {
        let mut tensor = Tensor::zeros([2, 3, 1, 100, 203]);
        for value in split_spans(&mut tensor).into_iter().flatten().flatten() {
            *value += 1.0;
        }
        assert!(tensor.data.iter().all(|v| *v == 1.0));
        let spans = spans(2, 20300);
        assert_eq!(spans.iter().map(|s| s.length).sum::<usize>(), 2 * 20300);
        assert_eq!(spans.len(), split_spans(&mut tensor).len());
        assert_eq!(channels_of(&tensor, spans[2])[2].len(), spans[2].length);
    }

    #[test]
    fn sums_are_complete() {
        for length in [0, 1, 15, 16, 17, 511, 512] {
            assert_eq!(run_sum(length, |i| i as f32), (0..length).sum::<usize>() as f64);
        }
        let values: Vec<f32> = (1..100).map(|i| i as f32).collect();
        let exact: f64 = (1..100).map(|i| f64::from(i).ln()).sum();
        assert!((log_sum(&values) / exact - 1.0).abs() < 1e-12);
    }
}
