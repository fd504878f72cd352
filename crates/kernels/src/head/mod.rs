//! The head of a segmentation network: 1x1x1 convolution to few channels, logits in plain layout (n, c, z, y, x).
//! Weights are natural `[co][ci]`; they are small, so they are not packed ahead.

mod forward;

use crate::conv::{ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, check_bias, direct};
use crate::error::check_length;
use crate::layout::{BlockedShape, padded, to_blocked};
use crate::{Context, KernelError};

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
        let shape = Self { source, out_channels };
        shape.conv().check()?;
        Ok(shape)
    }

    /// The head as a convolution with blocked output.
    pub(crate) fn conv(&self) -> ConvShape {
        ConvShape {
            batch: self.source.batch,
            input: self.source.spatial,
            source_channels: vec![self.source.channels],
            out_channels: self.out_channels,
            kernel: [1; 3],
            stride: [1; 3],
        }
    }

    /// Values that the backward functions need beside their results.
    pub fn staging_len(&self) -> usize {
        self.source.batch * padded(self.out_channels) * self.source.voxels()
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
    shape.conv().check()?;
    source.check(&shape.source)?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output_len())?;
    let mut packed = ForwardWeights::new(&shape.conv());
    packed.pack(ctx, weights)?;
    forward::run(ctx, shape, source, &packed.0, bias, output);
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
    shape.conv().check()?;
    check_length("gradient of the output", grad_output.len(), shape.output_len())?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_length("gradient of the source", grad_source.data.len(), shape.source.len())?;
    let conv = shape.conv();
    let mut packed = DataWeights::new(&conv);
    packed.pack(ctx, weights)?;
    let mut staging = ctx.staging();
    let blocked = staging.at_least(conv.output().len());
    to_blocked(ctx, &conv.output(), grad_output, &mut *blocked)?;
    let targets = std::iter::once(grad_source.shared());
    let gradient = Source::raw(blocked);
    direct::backward_data(ctx, &conv, conv.padding(), &gradient, &packed, None, targets);
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
    shape.conv().check()?;
    source.check(&shape.source)?;
    check_length("gradient of the output", grad_output.len(), shape.output_len())?;
    check_length("gradient of the weights", grad_weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, grad_bias.as_deref())?;
    let conv = shape.conv();
    let mut staging = ctx.staging();
    let blocked = staging.at_least(conv.output().len());
    to_blocked(ctx, &conv.output(), grad_output, &mut *blocked)?;
    direct::backward_weights(ctx, &conv, conv.padding(), &[*source], blocked, grad_weights);
    if let Some(grad_bias) = grad_bias {
        direct::bias_gradient(ctx, &conv.output(), blocked, grad_bias);
    }
    Ok(())
}
