//! Convolution of 1 to 7 taps and stride 1 to 4 per axis, padding (k - 1) / 2, over a list of concatenated sources.

mod algorithm;
pub(crate) mod direct;
mod natural;
pub(crate) mod packed;
mod shape;
mod source;
mod taps;
mod weights;
pub mod winograd;

pub use algorithm::{Algorithm, Precision, WeightsUse, choose, choose_weight_gradient};
pub use shape::ConvShape;
pub(crate) use shape::check_values;
pub(crate) use source::SharedTarget;
pub use source::{Affine, GradientTarget, Source, StatisticsMut, WriteMode};
pub use weights::{DataWeights, ForwardWeights};

use crate::error::{check_length, check_range};
use crate::layout::blocks;
use crate::values::{SharedValues, ValuesMut};
use crate::{Context, KernelError};
use packed::SourceWeights;

/// Forward convolution: raw output (bias added, no activation) in the blocked layout.
///
/// `sources` are the concatenated inputs, each with its own normalisation and activation to apply on load. `bias` has
/// `out_channels` values. `statistics` receives the mean and the biased variance of each (sample, output channel), for the instance
/// norm that follows; padding channels get 0. They are those of f32, also if the output is rounded to bf16.
///
/// # Errors
/// If a length does not fit `shape` or `weights` were packed for another one.
pub fn forward<'a>(
    ctx: &Context,
    shape: &ConvShape,
    sources: &[Source<'_>],
    weights: &ForwardWeights,
    bias: Option<&[f32]>,
    output: impl Into<ValuesMut<'a>>,
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    check_length("list of sources", sources.len(), shape.source_channels.len())?;
    forward_part(ctx, shape, 0, sources, weights, bias, output, WriteMode::Overwrite, statistics)
}

/// What the sources from number `first` on, as many as given, contribute to [`forward`]: it replaces the output or is added to it. So sources need
/// not be there at the same time. What is added takes no bias; statistics are those of the output after the call.
///
/// # Errors
/// As [`forward`], if there are no such sources, and for adding to bf16.
pub fn forward_part<'a>(
    ctx: &Context,
    shape: &ConvShape,
    first: usize,
    sources: &[Source<'_>],
    weights: &ForwardWeights,
    bias: Option<&[f32]>,
    output: impl Into<ValuesMut<'a>>,
    mode: WriteMode,
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    let output = SharedTarget { data: output.into().shared(), mode };
    forward_to(ctx, shape, first, sources, weights, bias, output, statistics)
}

/// [`forward_part`] for an output that tasks share.
pub(crate) fn forward_to(
    ctx: &Context,
    shape: &ConvShape,
    first: usize,
    sources: &[Source<'_>],
    weights: &ForwardWeights,
    bias: Option<&[f32]>,
    output: SharedTarget<'_>,
    statistics: Option<StatisticsMut<'_>>,
) -> Result<(), KernelError> {
    shape.check()?;
    let count = shape.source_channels.len();
    check_range("first source", first, 0..=count, "a source of the convolution")?;
    check_range("number of sources", sources.len(), 1..=count - first, "sources of the convolution")?;
    sources.iter().enumerate().try_for_each(|(index, source)| source.check(&shape.source(first + index)))?;
    weights.check(shape)?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.data.len(), shape.output().len())?;
    if output.mode == WriteMode::Accumulate && matches!(output.data, SharedValues::Bf16(_)) {
        return Err(KernelError::Unsupported {
            what: "type of an output that is added to",
            found: "bf16".into(),
            supported: "f32",
        });
    }
    if let Some(statistics) = &statistics {
        statistics.check(&shape.output())?;
    }
    let (earlier, channels) = shape.source_channels.split_at(first);
    let first_block = earlier.iter().map(|&channels| blocks(channels)).sum();
    let part = ConvShape { source_channels: channels[..sources.len()].to_vec(), ..shape.clone() };
    let bias = bias.filter(|_| output.mode == WriteMode::Overwrite);
    let weights = SourceWeights { packed: &weights.0, first_block };
    match weights.packed.algorithm() {
        Algorithm::Direct | Algorithm::DirectBf16 => {
            direct::forward(ctx, &part, part.padding(), sources, weights, bias, output, statistics);
        }
        Algorithm::Winograd(variant) => {
            winograd::forward(ctx, &part, variant, sources, weights, bias, output, statistics);
        }
    }
    Ok(())
}

/// Gradient with respect to the (activated) sources. `grad_sources` has one blocked buffer per source.
///
/// # Errors
/// If a length does not fit `shape` or `weights` were packed for another one.
pub fn backward_data(
    ctx: &Context,
    shape: &ConvShape,
    grad_output: &[f32],
    weights: &DataWeights,
    grad_sources: &mut [GradientTarget<'_>],
) -> Result<(), KernelError> {
    shape.check()?;
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    weights.check(shape)?;
    check_length("list of source gradients", grad_sources.len(), shape.source_channels.len())?;
    for (index, target) in grad_sources.iter().enumerate() {
        check_length("gradient of a source", target.data.len(), shape.source(index).len())?;
    }
    match weights.0.algorithm() {
        Algorithm::Direct | Algorithm::DirectBf16 => {
            let gradient = Source::raw(grad_output);
            let targets = grad_sources.iter_mut().map(GradientTarget::shared);
            direct::backward_data(ctx, shape, shape.padding(), &gradient, weights, None, targets);
        }
        Algorithm::Winograd(variant) => {
            winograd::backward_data(ctx, shape, variant, grad_output, &weights.0, grad_sources);
        }
    }
    Ok(())
}

/// Gradient with respect to weights (natural layout `[co][ci][kz][ky][kx]`) and bias (`out_channels`), by direct sums; both are
/// overwritten.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_weights(
    ctx: &Context,
    shape: &ConvShape,
    sources: &[Source<'_>],
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) -> Result<(), KernelError> {
    backward_weights_with(ctx, shape, Algorithm::Direct, sources, grad_output, grad_weights, grad_bias)
}

/// As [`backward_weights`], by the algorithm that [`choose_weight_gradient`] names. One that does not support the kernel or stride
/// of `shape` counts as direct.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_weights_with(
    ctx: &Context,
    shape: &ConvShape,
    algorithm: Algorithm,
    sources: &[Source<'_>],
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) -> Result<(), KernelError> {
    shape.check()?;
    check_sources(shape, sources)?;
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    check_length("gradient of the weights", grad_weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, grad_bias.as_deref())?;
    match algorithm {
        Algorithm::Winograd(variant) if algorithm.supports(shape) => {
            winograd::backward_weights(ctx, shape, variant, sources, grad_output, grad_weights);
        }
        _ => direct::backward_weights(ctx, shape, shape.padding(), sources, grad_output, grad_weights),
    }
    if let Some(grad_bias) = grad_bias {
        direct::bias_gradient(ctx, &shape.output(), grad_output, grad_bias);
    }
    Ok(())
}

fn check_sources(shape: &ConvShape, sources: &[Source<'_>]) -> Result<(), KernelError> {
    check_length("list of sources", sources.len(), shape.source_channels.len())?;
    sources.iter().enumerate().try_for_each(|(index, source)| source.check(&shape.source(index)))
}

/// Checks a bias or its gradient.
pub(crate) fn check_bias(out_channels: usize, bias: Option<&[f32]>) -> Result<(), KernelError> {
    bias.map_or(Ok(()), |bias| check_length("bias", bias.len(), out_channels))
}

/// Fills what the sums of all padded channels start from: the bias, zero without one and for padding.
pub(crate) fn start_with_bias(start: &mut [f32], bias: Option<&[f32]>) {
    start.fill(0.0);
    if let Some(bias) = bias {
        start[..bias.len()].copy_from_slice(bias);
    }
}
