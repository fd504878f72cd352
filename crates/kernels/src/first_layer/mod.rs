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

use crate::conv::{
    self, ConvShape, ForwardWeights, SharedTarget, Source, StatisticsMut, WriteMode, check_bias, direct,
};
use crate::error::check_length;
use crate::layout::to_blocked;
use crate::values::{SharedValues, ValuesMut};
use crate::{Context, KernelError};

/// Up to so many input channels are read from the plain layout; for more, the image is converted to the blocked one.
const MOST_CHANNELS: usize = 4;

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
    forward_to(ctx, shape, input, weights, bias, output.into().shared(), statistics)
}

fn forward_to(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: SharedValues<'_>,
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    check_input(shape, input)?;
    check_length("weights", weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output().len())?;
    if let Some(statistics) = &statistics {
        statistics.check(&shape.output())?;
    }
    if shape.in_channels() <= MOST_CHANNELS {
        forward::run(ctx, shape, input, weights, bias, output, statistics);
        return Ok(());
    }
    let mut staging = ctx.staging();
    let blocked = staging.at_least(shape.source(0).len());
    to_blocked(ctx, &shape.source(0), input, &mut *blocked)?;
    let mut packed = ForwardWeights::new(shape);
    packed.pack(ctx, weights)?;
    let (sources, target) =
        ([Source::raw(blocked)], SharedTarget { data: output, mode: WriteMode::Overwrite });
    conv::forward_to(ctx, shape, 0, &sources, &packed, bias, target, statistics)
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
    if shape.in_channels() <= MOST_CHANNELS {
        weight_gradient::run(ctx, shape, input, grad_output, grad_weights);
    } else {
        let mut staging = ctx.staging();
        let blocked = staging.at_least(shape.source(0).len());
        to_blocked(ctx, &shape.source(0), input, &mut *blocked)?;
        let sources = [Source::raw(blocked)];
        direct::backward_weights(ctx, shape, shape.padding(), &sources, grad_output, grad_weights);
    }
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
