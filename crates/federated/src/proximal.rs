//! FedProx: a penalty on the distance to the weights that the round began with, so that sites do not drift apart.
//!
//! The term mu/2 |w - w0|^2 adds mu (w - w0) to the gradient, before it is clipped.

use std::collections::HashMap;

use nnunet::graph::Parameters;
use nnunet::train::batch::Batch;
use nnunet::train::{StepAddress, StepHook};

/// The penalty as a part of every step.
pub(crate) struct Proximal {
    mu: f32,
    /// Weights that the round began with, by canonical name.
    centre: HashMap<String, Vec<f32>>,
}

impl Proximal {
    /// The penalty of weight `mu` around `centre`; parameters that are not in it are free.
    pub(crate) fn new(mu: f64, centre: HashMap<String, Vec<f32>>) -> Self {
        Self { mu: mu as f32, centre }
    }
}

impl StepHook for Proximal {
    fn adjusts_gradients(&self) -> bool {
        true
    }

    fn adjust_gradients(&mut self, _at: StepAddress, _batch: &Batch, parameters: &mut Parameters) {
        for (name, parameter) in parameters.iter_mut() {
            let Some(centre) = self.centre.get(name) else { continue };
            let Some((value, gradient)) = parameter.value_and_gradient() else { continue };
            for ((gradient, value), centre) in gradient.iter_mut().zip(value).zip(centre) {
                *gradient += self.mu * (*value - centre);
            }
        }
    }
}
