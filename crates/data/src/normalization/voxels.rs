//! Passes over the voxels of a channel, in parallel.

use rayon::prelude::*;

/// Smallest divisor.
pub(super) const EPSILON: f32 = 1e-8;
/// Voxels per unit of parallel work. Sums are combined in the order of these pieces, so results do not depend on the
/// number of threads.
pub(super) const PIECE: usize = 1 << 16;

/// Replaces every voxel.
pub(super) fn each(voxels: &mut [f32], map: impl Fn(f32) -> f32 + Sync) {
    voxels.par_chunks_mut(PIECE).for_each(|piece| piece.iter_mut().for_each(|v| *v = map(*v)));
}

/// Smallest and largest value.
pub(super) fn range(voxels: &[f32]) -> (f32, f32) {
    voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Mean and population deviation (at least [`EPSILON`]) of the voxels within the mask.
pub(super) fn moments(voxels: &[f32], mask: Option<&[i16]>) -> (f32, f32) {
    let inside = |piece: usize, offset: usize| mask.is_none_or(|mask| mask[piece * PIECE + offset] >= 0);
    let total = |value: &(dyn Fn(f64) -> f64 + Sync)| -> (f64, u64) {
        let pieces: Vec<(f64, u64)> = voxels
            .par_chunks(PIECE)
            .enumerate()
            .map(|(piece, voxels)| {
                let mut sum = 0.0;
                let mut count = 0;
                for (offset, &v) in voxels.iter().enumerate() {
                    if inside(piece, offset) {
                        sum += value(f64::from(v));
                        count += 1;
                    }
                }
                (sum, count)
            })
            .collect();
        pieces.iter().fold((0.0, 0), |all, piece| (all.0 + piece.0, all.1 + piece.1))
    };
    let (sum, count) = total(&|v| v);
    if count == 0 {
        return (0.0, 1.0);
    }
    let mean = sum / count as f64;
    let (squares, _) = total(&|v| (v - mean) * (v - mean));
    (mean as f32, ((squares / count as f64).sqrt() as f32).max(EPSILON))
}
