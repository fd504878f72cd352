//! The head of a segmentation network: 1x1x1 convolution to few channels, logits in plain layout (n, c, z, y, x).
//! Weights are natural `[co][ci]`; they are small, so they are not packed ahead.

use crate::conv::{ConvShape, GradientTarget, Source, check_bias};
use crate::error::check_length;
use crate::layout::BlockedShape;
use crate::{Context, KernelError, scalar};

/// Sizes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadShape {
    /// Shape of the input.
    pub source: BlockedShape,
    /// Output channels (classes).
    pub out_channels: usize,
}

impl HeadShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] names the size that is not supported.
    pub fn new(source: BlockedShape, out_channels: usize) -> Result<Self, KernelError> {
        ConvShape::new(source.batch, source.spatial, &[source.channels], out_channels, [1; 3], [1; 3])?;
        Ok(Self { source, out_channels })
    }

    /// Values of the plain output (n, c, z, y, x).
    pub fn output_len(&self) -> usize {
        self.source.batch * self.out_channels * self.source.voxels()
    }

    /// Values of the weights `[co][ci]`.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.source.channels
    }
}

/// Logits in plain layout. `bias` has `out_channels` values.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn forward(
    ctx: &Context,
    shape: &HeadShape,
    source: &Source<'_>,
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) -> Result<(), KernelError> {
    source.check(&shape.source)?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output_len())?;
    let _ = ctx;
    scalar::head_forward(shape, source, weights, bias, output);
    Ok(())
}

/// Gradient with respect to the (activated) source from the plain gradient of the logits.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_data(
    ctx: &Context,
    shape: &HeadShape,
    grad_output: &[f32],
    weights: &[f32],
    grad_source: &mut GradientTarget<'_>,
) -> Result<(), KernelError> {
    check_length("gradient of the output", grad_output.len(), shape.output_len())?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_length("gradient of the source", grad_source.data.len(), shape.source.len())?;
    let _ = ctx;
    scalar::head_backward_data(shape, grad_output, weights, grad_source);
    Ok(())
}

/// Gradient with respect to weights (`[co][ci]`) and bias (`out_channels`); both are overwritten.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_weights(
    ctx: &Context,
    shape: &HeadShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) -> Result<(), KernelError> {
    source.check(&shape.source)?;
    check_length("gradient of the output", grad_output.len(), shape.output_len())?;
    check_length("gradient of the weights", grad_weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, grad_bias.as_deref())?;
    let _ = ctx;
    scalar::head_backward_weights(shape, source, grad_output, grad_weights, grad_bias);
    Ok(())
}
