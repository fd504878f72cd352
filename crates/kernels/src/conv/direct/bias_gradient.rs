//! Gradient of a bias: the sum of the output's gradient over samples and voxels.

use super::row_table;
use crate::Context;
use crate::layout::{BlockedShape, LANES};
use crate::memory::SharedMut;

/// Voxels that a task sums.
const PIECE: usize = 4096;

/// Sum per channel over samples and voxels; lengths have been checked.
pub(crate) fn bias_gradient(ctx: &Context, shape: &BlockedShape, gradient: &[f32], grad_bias: &mut [f32]) {
    let (voxels, blocks) = (shape.voxels(), shape.blocks());
    let pieces = voxels.div_ceil(PIECE);
    let rows = row_table(ctx.level());
    let mut sums = ctx.kept::<Vec<[f64; LANES]>>();
    let len = shape.batch * blocks * pieces;
    if sums.len() < len {
        sums.resize(len, [0.0; LANES]);
    }
    let shared = SharedMut::new(&mut sums[..len]);
    ctx.pool().par_for(len, |_, task| {
        let (block, piece) = (task / pieces, task % pieces);
        let count = PIECE.min(voxels - piece * PIECE);
        let values = &gradient[(block * voxels + piece * PIECE) * LANES..][..count * LANES];
        // SAFETY: each task has an entry of its own; the slice has the length that is summed; the table is that of a level that
        // the CPU has.
        unsafe {
            let sum = &mut shared.part(task, 1)[0];
            sum.fill(0.0);
            (rows.sum)(values.as_ptr(), count, sum);
        }
    });
    for (channel, target) in grad_bias.iter_mut().enumerate() {
        let of_sample = |sample: usize| &sums[(sample * blocks + channel / LANES) * pieces..][..pieces];
        *target = (0..shape.batch).flat_map(of_sample).map(|sum| sum[channel % LANES]).sum::<f64>() as f32;
    }
}
