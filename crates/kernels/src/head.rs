//! The head of a segmentation network: 1x1x1 convolution to few channels, logits in plain layout (n, c, z, y, x).
//! Weights are natural `[co][ci]`; they are small, so they are not packed ahead.

use crate::conv::{ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, check_bias, direct};
use crate::error::check_length;
use crate::layout::{BlockedShape, LANES, padded, to_blocked, to_plain};
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
        ConvShape::new(source.batch, source.spatial, &[source.channels], out_channels, [1; 3], [1; 3])?;
        Ok(Self { source, out_channels })
    }

    /// The head as a convolution with blocked output.
    fn conv(&self) -> ConvShape {
        ConvShape {
            batch: self.source.batch,
            input: self.source.spatial,
            source_channels: vec![self.source.channels],
            out_channels: self.out_channels,
            kernel: [1; 3],
            stride: [1; 3],
        }
    }

    /// Classes that are computed at a time: all of them, but of large single samples so many that their
    /// blocked logits take no more room than a feature map.
    fn classes_at_once(&self) -> usize {
        if self.source.batch == 1 { self.out_channels.min(2 * LANES) } else { self.out_channels }
    }

    /// Values that [`forward`] needs beside its output.
    pub fn staging_len(&self) -> usize {
        self.source.batch * padded(self.classes_at_once()) * self.source.voxels()
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
    let at_once = shape.classes_at_once();
    let (channels, voxels) = (shape.source.channels, shape.output_len() / shape.out_channels.max(1));
    let mut staging = ctx.staging();
    for first in (0..shape.out_channels).step_by(at_once.max(1)) {
        let classes = first..shape.out_channels.min(first + at_once);
        let conv = HeadShape { out_channels: classes.len(), ..*shape }.conv();
        let mut packed = ForwardWeights::new(&conv);
        packed.pack(ctx, &weights[classes.start * channels..classes.end * channels])?;
        let blocked = staging.at_least(conv.output().len());
        let target = GradientTarget::overwrite(blocked);
        let bias = bias.map(|bias| &bias[classes.clone()]);
        direct::forward(ctx, &conv, conv.padding(), &[*source], packed.0.whole(), bias, target, None);
        to_plain(ctx, &conv.output(), blocked, &mut output[classes.start * voxels..classes.end * voxels])?;
    }
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
    let conv = shape.conv();
    let mut packed = DataWeights::new(&conv);
    packed.pack(ctx, weights)?;
    let mut staging = ctx.staging();
    let blocked = staging.at_least(conv.output().len());
    to_blocked(ctx, &conv.output(), grad_output, blocked)?;
    let mut targets = [GradientTarget { data: &mut *grad_source.data, mode: grad_source.mode }];
    let gradient = Source::raw(blocked);
    direct::backward_data(ctx, &conv, conv.padding(), &gradient, &packed, None, &mut targets);
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
    let conv = shape.conv();
    let mut staging = ctx.staging();
    let blocked = staging.at_least(conv.output().len());
    to_blocked(ctx, &conv.output(), grad_output, blocked)?;
    direct::backward_weights(ctx, &conv, conv.padding(), &[*source], blocked, grad_weights);
    if let Some(grad_bias) = grad_bias {
        direct::bias_gradient(ctx, &conv.output(), blocked, grad_bias);
    }
    Ok(())
}
