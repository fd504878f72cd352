//! Optimisers over named parameters, with PyTorch's semantics and state.
//!
//! A parameter without a gradient (see [`crate::Parameter::gradient`]) is left alone entirely: no
//! weight decay, no state. Arithmetic is f32 as in PyTorch; the order of operations within one
//! element is fixed, so steps are deterministic.

mod adam;
mod adan;
mod built_in;
mod clip;
mod rates;
mod sgd;

use indexmap::IndexMap;

pub use adam::{Adam, AdamOptions, Decay};
pub use adan::{Adan, AdanOptions};
pub use built_in::{OptimiserBuilder, optimisers};
pub use clip::clip_gradient_norm;
pub use rates::Rates;
pub use sgd::{Sgd, SgdOptions};

use crate::error::NetworkError;
use crate::parameters::Parameters;

/// An optimiser as data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptimiserSpec {
    /// Stochastic gradient descent.
    Sgd(SgdOptions),
    /// Adam or AdamW.
    Adam(AdamOptions),
    /// Adan.
    Adan(AdanOptions),
}

impl OptimiserSpec {
    /// The optimiser, without state, for parameters on the host.
    pub fn on_host(&self) -> Box<dyn Optimiser> {
        match *self {
            Self::Sgd(options) => Box::new(Sgd::new(options)),
            Self::Adam(options) => Box::new(Adam::new(options)),
            Self::Adan(options) => Box::new(Adan::new(options)),
        }
    }

    /// Numbers that the optimiser keeps for each element of a parameter.
    pub fn state_per_element(&self) -> usize {
        match self {
            Self::Sgd(options) => usize::from(options.momentum != 0.0),
            Self::Adam(options) => 2 + usize::from(options.amsgrad),
            Self::Adan(_) => 4,
        }
    }
}

/// Changes parameters along their gradients.
pub trait Optimiser: Send {
    /// One step with `learning_rate` for all parameters that have a gradient.
    fn step(&mut self, parameters: &mut Parameters, learning_rate: f64);

    /// What PyTorch's `optimizer.state_dict()["state"]` holds.
    fn state(&self) -> OptimiserState;

    /// Replaces the state, as when training resumes. Errors name a parameter whose state has the wrong
    /// keys or sizes.
    fn set_state(&mut self, state: &OptimiserState, parameters: &Parameters) -> Result<(), NetworkError>;
}

/// State of an optimiser: one entry per parameter, in PyTorch's order; `None` for a parameter that
/// was never stepped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimiserState {
    /// By parameter index.
    pub parameters: Vec<Option<IndexMap<String, StateTensor>>>,
}

/// A tensor of an optimiser's state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateTensor {
    /// The parameter's shape, or empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements in C order.
    pub data: Vec<f32>,
}

impl OptimiserState {
    /// The tensors of parameter `index` under `keys`, checked against the parameters; `None` where the
    /// parameter has no state.
    fn tensors<'a, const N: usize>(
        &'a self,
        index: usize,
        keys: [&str; N],
        parameters: &Parameters,
    ) -> Result<Option<[&'a StateTensor; N]>, NetworkError> {
        let Some(Some(entry)) = self.parameters.get(index) else { return Ok(None) };
        let fault = |found: String, expected: String| NetworkError::OptimiserState { index, found, expected };
        if self.parameters.len() > parameters.len() {
            let found = format!("state of {} parameters", self.parameters.len());
            return Err(fault(found, format!("at most {}", parameters.len())));
        }
        let elements = parameters.by_id(crate::graph::ParameterId(index)).value().len();
        let mut found = Vec::with_capacity(N);
        for key in keys {
            let Some(tensor) = entry.get(key) else {
                let names: Vec<&str> = entry.keys().map(String::as_str).collect();
                return Err(fault(format!("entries {}", names.join(", ")), format!("an entry \"{key}\"")));
            };
            let expected = if key == "step" { 1 } else { elements };
            if tensor.data.len() != expected {
                return Err(fault(
                    format!("{} elements of \"{key}\"", tensor.data.len()),
                    format!("{expected}"),
                ));
            }
            found.push(tensor);
        }
        Ok(found.try_into().ok())
    }
}
