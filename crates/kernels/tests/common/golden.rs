//! Goldens made by PyTorch, and the way between their plain layout and the blocked one of the kernels.

use nnunet_kernels::layout::{AlignedBuffer, BlockedShape, LANES, to_blocked, to_plain};
use nnunet_kernels::{Context, CpuLevel};

/// The values of `golden/<topic>/data/<name>.f32`.
pub(crate) fn load(topic: &str, name: &str) -> Vec<f32> {
    let path = format!("{}/tests/golden/{topic}/data/{name}.f32", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// One context with two threads for each level that the machine has.
pub(crate) fn contexts() -> impl Iterator<Item = Context> {
    CpuLevel::available().into_iter().map(|level| Context::new(level, 2))
}

pub(crate) fn blocked(ctx: &Context, shape: &BlockedShape, plain: &[f32]) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(shape.len());
    to_blocked(ctx, shape, plain, &mut buffer).unwrap();
    buffer
}

/// The values without padding, after a check that padding is zero.
pub(crate) fn plain(ctx: &Context, shape: &BlockedShape, blocked: &[f32]) -> Vec<f32> {
    let mut values = vec![0.0; shape.plain_len()];
    to_plain(ctx, shape, blocked, &mut values).unwrap();
    for (at, value) in blocked.iter().enumerate() {
        let channel = at / LANES / shape.voxels() % shape.blocks() * LANES + at % LANES;
        assert!(channel < shape.channels || *value == 0.0, "padding channel {channel} has {value}");
    }
    values
}
