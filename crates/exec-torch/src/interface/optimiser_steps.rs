//! Steps of optimisers on many tensors at once, in place.

use std::sync::Arc;

use super::call::Argument::{Bool, Float, OptionalTensor, Tensors};
use super::operations::{ADAM, ADAMW, SGD};
use super::{Interface, Tensor, TorchError};

/// Settings of [`sgd`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SgdStep {
    /// Learning rate.
    pub(crate) rate: f64,
    /// Added to the gradient as this times the weight.
    pub(crate) weight_decay: f64,
    /// Share of the last direction that is kept.
    pub(crate) momentum: f64,
    /// Whether to look ahead along the momentum.
    pub(crate) nesterov: bool,
    /// Whether the momentum becomes the gradient.
    pub(crate) first: bool,
}

/// One step of gradient descent, in place. `momentum` is empty where the share is 0.
pub(crate) fn sgd(
    interface: &Arc<Interface>,
    values: &[&Tensor],
    gradients: &[&Tensor],
    momentum: &[&Tensor],
    step: SgdStep,
) -> Result<(), TorchError> {
    let [] = SGD.call(
        interface,
        &[
            Tensors(values),
            Tensors(gradients),
            Tensors(momentum),
            Float(step.weight_decay),
            Float(step.momentum),
            Float(step.rate),
            Float(0.0),
            Bool(step.nesterov),
            Bool(false),
            Bool(step.first),
            OptionalTensor(None),
            OptionalTensor(None),
        ],
    )?;
    Ok(())
}

/// Settings of [`adam`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    /// Learning rate.
    pub(crate) rate: f64,
    /// Decay rates of the two moments.
    pub(crate) betas: (f64, f64),
    /// Strength of the weight decay.
    pub(crate) weight_decay: f64,
    /// Added to the denominator.
    pub(crate) epsilon: f64,
    /// Whether the weight decay acts beside the gradient (AdamW).
    pub(crate) decoupled: bool,
}

/// Moments of [`adam`]: the mean, the square and, with AMSGrad, the largest square of each gradient; the number of steps that
/// are done with this one, as numbers in f32.
pub(crate) struct Moments<'a> {
    /// Mean.
    pub(crate) mean: &'a [&'a Tensor],
    /// Square.
    pub(crate) square: &'a [&'a Tensor],
    /// Largest square, or empty.
    pub(crate) largest: &'a [&'a Tensor],
    /// Steps.
    pub(crate) steps: &'a [&'a Tensor],
}

/// One step of Adam, in place.
pub(crate) fn adam(
    interface: &Arc<Interface>,
    values: &[&Tensor],
    gradients: &[&Tensor],
    moments: &Moments<'_>,
    step: AdamStep,
) -> Result<(), TorchError> {
    let operation = if step.decoupled { ADAMW } else { ADAM };
    let [] = operation.call(
        interface,
        &[
            Tensors(values),
            Tensors(gradients),
            Tensors(moments.mean),
            Tensors(moments.square),
            Tensors(moments.largest),
            Tensors(moments.steps),
            Float(step.rate),
            Float(step.betas.0),
            Float(step.betas.1),
            Float(step.weight_decay),
            Float(step.epsilon),
            Bool(!moments.largest.is_empty()),
            Bool(false),
            OptionalTensor(None),
            OptionalTensor(None),
        ],
    )?;
    Ok(())
}
