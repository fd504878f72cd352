//! The first convolution of a network: few input channels in plain layout (n, c, z, y, x), blocked output. It needs no data gradient.
//! Its [`ConvShape`] has one source, the image. Weights are natural `[co][ci][kz][ky][kx]`; they are small, so they are not packed ahead.

use crate::conv::{ConvShape, StatisticsMut, check_bias};
use crate::error::check_length;
use crate::{Context, KernelError, scalar};

/// Raw output (bias added) in the blocked layout, and its statistics, as [`crate::conv::forward`] has them.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn forward(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    check_input(shape, input)?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output().len())?;
    if let Some(statistics) = &statistics {
        statistics.check(&shape.output())?;
    }
    let _ = ctx;
    scalar::first_layer_forward(shape, input, weights, bias, output);
    if let Some(statistics) = statistics {
        scalar::statistics(&shape.output(), output, statistics);
    }
    Ok(())
}

/// Gradient with respect to weights (natural layout) and bias (`out_channels`); both are overwritten.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_weights(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) -> Result<(), KernelError> {
    check_input(shape, input)?;
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    check_length("gradient of the weights", grad_weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, grad_bias.as_deref())?;
    let _ = ctx;
    scalar::first_layer_backward_weights(shape, input, grad_output, grad_weights);
    if let Some(grad_bias) = grad_bias {
        scalar::bias_gradient(&shape.output(), grad_output, grad_bias);
    }
    Ok(())
}

fn check_input(shape: &ConvShape, input: &[f32]) -> Result<(), KernelError> {
    check_length("list of sources of a first layer", shape.source_channels.len(), 1)?;
    check_length("input", input.len(), shape.source(0).plain_len())
}
