//! What a kernel reads and writes: sources with a fused normalisation, gradient targets, statistics.

use crate::error::{check_length, check_slope};
use crate::layout::BlockedShape;
use crate::memory::SharedMut;
use crate::values::SharedValues;
use crate::{KernelError, Values};

/// Normalisation and activation of the producing layer: `leaky(x * scale + shift)`.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// Scale per (sample, padded channel).
    pub scale: &'a [f32],
    /// Shift per (sample, padded channel).
    pub shift: &'a [f32],
    /// Slope for negative values, 0 to 1: 1 is no activation, 0 is ReLU.
    pub negative_slope: f32,
}

/// A blocked activation, with what has to be applied to its raw values on load.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Values in the blocked layout.
    pub data: Values<'a>,
    /// Normalisation and activation to apply on load.
    pub affine: Option<Affine<'a>>,
}

impl<'a> Source<'a> {
    /// A source whose f32 values are used as they are.
    pub fn raw(data: &'a [f32]) -> Self {
        Self { data: Values::F32(data), affine: None }
    }

    pub(crate) fn check(&self, shape: &BlockedShape) -> Result<(), KernelError> {
        check_length("source", self.data.len(), shape.len())?;
        if let Some(affine) = &self.affine {
            check_length("scale of a source", affine.scale.len(), shape.vector_len())?;
            check_length("shift of a source", affine.shift.len(), shape.vector_len())?;
            check_slope(affine.negative_slope)?;
        }
        Ok(())
    }
}

/// Whether a gradient replaces what a buffer holds or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Replace.
    Overwrite,
    /// Add: a skip connection gets gradients from two consumers.
    Accumulate,
}

/// Where the gradient of a source goes.
#[derive(Debug)]
pub struct GradientTarget<'a> {
    /// Blocked buffer of the source's shape.
    pub data: &'a mut [f32],
    /// Replace or add.
    pub mode: WriteMode,
}

impl<'a> GradientTarget<'a> {
    /// A target that is overwritten.
    pub fn overwrite(data: &'a mut [f32]) -> Self {
        Self { data, mode: WriteMode::Overwrite }
    }

    /// A target that is added to.
    pub fn accumulate(data: &'a mut [f32]) -> Self {
        Self { data, mode: WriteMode::Accumulate }
    }
}

impl GradientTarget<'_> {
    pub(crate) fn shared(&mut self) -> SharedTarget<'_> {
        SharedTarget { data: SharedValues::F32(SharedMut::new(self.data)), mode: self.mode }
    }
}

/// Where results go, for the tasks of a job.
#[derive(Clone, Copy)]
pub(crate) struct SharedTarget<'a> {
    /// Blocked tensor.
    pub(crate) data: SharedValues<'a>,
    /// Replace or add; nothing is added to bf16.
    pub(crate) mode: WriteMode,
}

/// Receives mean and biased variance (divided by the number of voxels) per (sample, padded channel); padding channels get 0.
#[derive(Debug)]
pub struct StatisticsMut<'a> {
    /// Mean.
    pub mean: &'a mut [f64],
    /// Biased variance.
    pub variance: &'a mut [f64],
}

impl StatisticsMut<'_> {
    pub(crate) fn check(&self, shape: &BlockedShape) -> Result<(), KernelError> {
        check_length("mean", self.mean.len(), shape.vector_len())?;
        check_length("variance", self.variance.len(), shape.vector_len())
    }
}
