//! The blocked layout `[n][c/16][z][y][x][16]`, and conversions from and to plain (n, c, z, y, x).

#![allow(unsafe_code)]

use crate::error::check_length;
pub use crate::memory::AlignedBuffer;
use crate::memory::SharedMut;
use crate::values::{Element, ValuesMut};
use crate::{Context, KernelError};

/// Channels in a block: one AVX-512 vector of `f32`, one cache line.
pub const LANES: usize = 16;

/// Number of blocks that hold `channels` channels.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// `channels` rounded up to whole blocks.
pub fn padded(channels: usize) -> usize {
    blocks(channels) * LANES
}

/// Shape of an activation: samples, channels (without padding), (z, y, x).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockedShape {
    /// Samples.
    pub batch: usize,
    /// Channels, padding not counted.
    pub channels: usize,
    /// (z, y, x); z is 1 in 2-D.
    pub spatial: [usize; 3],
}

impl BlockedShape {
    /// Blocks per sample.
    pub fn blocks(&self) -> usize {
        blocks(self.channels)
    }

    /// Channels including padding.
    pub fn padded_channels(&self) -> usize {
        padded(self.channels)
    }

    /// Voxels of one channel of one sample.
    pub fn voxels(&self) -> usize {
        self.spatial.iter().product()
    }

    /// Values in the blocked layout.
    pub fn len(&self) -> usize {
        self.batch * self.padded_channels() * self.voxels()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values in the plain layout (n, c, z, y, x).
    pub fn plain_len(&self) -> usize {
        self.batch * self.channels * self.voxels()
    }

    /// Entries of a per-(sample, channel) vector.
    pub fn vector_len(&self) -> usize {
        self.batch * self.padded_channels()
    }

    /// Index of a value in the blocked layout; `voxel` is `(z * y_size + y) * x_size + x`.
    pub fn index(&self, sample: usize, channel: usize, voxel: usize) -> usize {
        ((sample * self.blocks() + channel / LANES) * self.voxels() + voxel) * LANES + channel % LANES
    }
}

/// Converts plain (n, c, z, y, x) to blocked; padding lanes become zero.
///
/// # Errors
/// If a slice does not have the length of `shape`.
pub fn to_blocked<'a>(
    ctx: &Context,
    shape: &BlockedShape,
    plain: &[f32],
    blocked: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let parts = blocked.into().shared();
    check_length("plain tensor", plain.len(), shape.plain_len())?;
    check_length("blocked tensor", parts.len(), shape.len())?;
    let (voxels, blocks) = (shape.voxels(), shape.blocks());
    ctx.pool().par_for(shape.batch * blocks, |_, task| {
        let (sample, block) = (task / blocks, task % blocks);
        let count = (shape.channels - block * LANES).min(LANES);
        let first = (sample * shape.channels + block * LANES) * voxels;
        let plain = &plain[first..first + count * voxels];
        // SAFETY: each task writes its own block.
        match unsafe { parts.part(task * voxels * LANES, voxels * LANES) } {
            ValuesMut::F32(block) => fill_block(plain, voxels, block),
            ValuesMut::Bf16(block) => fill_block(plain, voxels, block),
        }
    });
    Ok(())
}

/// Writes the channels of one block; padding lanes become zero.
fn fill_block<E: Element>(plain: &[f32], voxels: usize, block: &mut [E]) {
    for (voxel, lanes) in block.chunks_exact_mut(LANES).enumerate() {
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value = E::from_f32(plain.get(lane * voxels + voxel).copied().unwrap_or(0.0));
        }
    }
}

/// Converts blocked to plain (n, c, z, y, x); padding lanes are dropped.
///
/// # Errors
/// If a slice does not have the length of `shape`.
pub fn to_plain(
    ctx: &Context,
    shape: &BlockedShape,
    blocked: &[f32],
    plain: &mut [f32],
) -> Result<(), KernelError> {
    check_length("blocked tensor", blocked.len(), shape.len())?;
    check_length("plain tensor", plain.len(), shape.plain_len())?;
    // So many voxels of a block stay in the cache while its channels are taken out one by one.
    const SPAN: usize = 2048;
    let (voxels, channels, blocks) = (shape.voxels(), shape.channels, shape.blocks());
    let spans = voxels.div_ceil(SPAN);
    let parts = SharedMut::new(plain);
    ctx.pool().par_for(shape.batch * blocks * spans, |_, task| {
        let (sample, block) = (task / spans / blocks, task / spans % blocks);
        let start = task % spans * SPAN;
        let len = SPAN.min(voxels - start);
        let first = shape.index(sample, block * LANES, start);
        let source = &blocked[first..first + len * LANES];
        for lane in 0..(channels - block * LANES).min(LANES) {
            let channel = sample * channels + block * LANES + lane;
            // SAFETY: each task writes its own voxels of its own channels.
            let out = unsafe { parts.part(channel * voxels + start, len) };
            for (value, lanes) in out.iter_mut().zip(source.chunks_exact(LANES)) {
                *value = lanes[lane];
            }
        }
    });
    Ok(())
}

/// Makes zeros of NaN in the lanes from `used` on of `count` vectors of 16 that lie `step` values apart: the padding channels of what a
/// kernel wrote. Their weights are zero, but an infinity times zero is NaN.
///
/// # Safety
/// The vectors are valid and nobody else uses them.
pub(crate) unsafe fn clear_padding(first: *mut f32, count: usize, step: usize, used: usize) {
    assert!(used <= LANES);
    for at in 0..count {
        // SAFETY: the vector is valid by the contract of this function, and its lanes from `used` on lie in it.
        let lanes = unsafe { std::slice::from_raw_parts_mut(first.add(at * step + used), LANES - used) };
        lanes.iter_mut().for_each(|lane| *lane = if lane.is_nan() { 0.0 } else { *lane });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuLevel;

    #[test]
    fn blocked_and_back() {
        let ctx = Context::new(CpuLevel::detect(), 2);
        for channels in [1, 3, 16, 17, 40] {
            let shape = BlockedShape { batch: 2, channels, spatial: [2, 3, 5] };
            let plain: Vec<f32> = (0..shape.plain_len()).map(|i| i as f32 + 1.0).collect();
            let mut blocked = AlignedBuffer::new(shape.len());
            blocked.fill(f32::NAN);
            to_blocked(&ctx, &shape, &plain, &mut blocked).unwrap();
            assert_eq!(blocked[shape.index(1, channels - 1, 7)], plain[(channels + channels - 1) * 30 + 7]);
            assert_eq!(
                blocked.iter().filter(|value| **value == 0.0).count(),
                shape.len() - shape.plain_len()
            );
            let mut back = vec![0.0; plain.len()];
            to_plain(&ctx, &shape, &blocked, &mut back).unwrap();
            assert_eq!(back, plain);
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let ctx = Context::new(CpuLevel::Portable, 1);
        let shape = BlockedShape { batch: 1, channels: 3, spatial: [1, 2, 2] };
        let message = to_blocked(&ctx, &shape, &[0.0; 11], &mut [0.0; 64]).unwrap_err().to_string();
        assert_eq!(message, "plain tensor has 11 values, but the shape asks for 12");
    }
}
