//! The first convolution of a network: few input channels in plain layout (n, c, z, y, x), blocked output. It needs no data gradient.
//! Its [`ConvShape`] has one source, the image. Weights are natural `[co][ci][kz][ky][kx]`; they are small, so they are
//! not packed ahead.
//!
//! One input channel in the blocked layout would be fifteen parts padding. Here a tap of one channel is one multiply-add per
//! result vector; rows of the image are copied to scratch with zeros around them, sorted along x by the remainder of the stride.

#![allow(unsafe_code)]

mod forward;
mod plain;
mod weight_gradient;

use crate::conv::{ConvShape, StatisticsMut, check_bias, direct};
use crate::error::check_length;
use crate::values::ValuesMut;
use crate::{Context, KernelError};

/// Up to so many input channels these kernels are faster than those for blocked tensors, which compute 16 channels whatever the image
/// has. They take more all the same.
pub const FEW_CHANNELS: usize = 7;

/// Raw output (bias added) in the blocked layout, and its statistics, as [`crate::conv::forward`] has them.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn forward<'a>(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: impl Into<ValuesMut<'a>>,
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    let output = output.into().shared();
    check_input(shape, input)?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output().len())?;
    if let Some(statistics) = &statistics {
        statistics.check(&shape.output())?;
    }
    forward::run(ctx, shape, input, weights, bias, output, statistics);
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
    weight_gradient::run(ctx, shape, input, grad_output, grad_weights);
    if let Some(grad_bias) = grad_bias {
        direct::bias_gradient(ctx, &shape.output(), grad_output, grad_bias);
    }
    Ok(())
}

fn check_input(shape: &ConvShape, input: &[f32]) -> Result<(), KernelError> {
    shape.check()?;
    check_length("list of sources of a first layer", shape.source_channels.len(), 1)?;
    check_length("input", input.len(), shape.source(0).plain_len())
}
