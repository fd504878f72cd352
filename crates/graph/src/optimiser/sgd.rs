//! Stochastic gradient descent with momentum, Nesterov's form and coupled weight decay.
//!
//! PyTorch's semantics: g += decay * w; m = momentum * m + g (m = g the first time);
//! w -= rate * (g + momentum * m) with Nesterov, else w -= rate * m.

use indexmap::IndexMap;

use super::{Optimiser, OptimiserState, StateTensor};
use crate::error::NetworkError;
use crate::parameters::Parameters;

/// Settings of [`Sgd`]. The default is nnU-Net's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdOptions {
    /// Share of the last direction that is kept.
    pub momentum: f64,
    /// Added to the gradient as this times the weight.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { momentum: 0.99, weight_decay: 3e-5, nesterov: true }
    }
}

/// Stochastic gradient descent.
#[derive(Debug, Clone)]
pub struct Sgd {
    options: SgdOptions,
    /// Momentum and shape by parameter index; `None` before the first step of that parameter.
    momentum: Vec<Option<StateTensor>>,
}

impl Sgd {
    /// An optimiser without state.
    pub fn new(options: SgdOptions) -> Self {
        Self { options, momentum: Vec::new() }
    }

    /// Its settings.
    pub fn options(&self) -> SgdOptions {
        self.options
    }
}

const KEY: &str = "momentum_buffer";

impl Optimiser for Sgd {
    fn step(&mut self, parameters: &mut Parameters, learning_rate: f64) {
        let (momentum, decay) = (self.options.momentum as f32, self.options.weight_decay as f32);
        let (rate, nesterov) = (learning_rate as f32, self.options.nesterov);
        self.momentum.resize(parameters.len(), None);
        for ((_, parameter), state) in parameters.iter_mut().zip(&mut self.momentum) {
            let shape = parameter.shape().to_vec();
            let Some((value, gradient)) = parameter.value_and_gradient() else { continue };
            if momentum == 0.0 {
                for (w, &mut g) in value.iter_mut().zip(gradient) {
                    *w -= rate * (g + decay * *w);
                }
                continue;
            }
            let first = state.is_none();
            let state = state.get_or_insert_with(|| StateTensor { shape, data: vec![0.0; value.len()] });
            // The first direction is the gradient itself, not momentum * 0 + gradient; the same number.
            let kept = if first { 0.0 } else { momentum };
            for ((w, &mut g), m) in value.iter_mut().zip(gradient).zip(&mut state.data) {
                let g = g + decay * *w;
                *m = kept * *m + g;
                *w -= rate * if nesterov { g + momentum * *m } else { *m };
            }
        }
    }

    fn state(&self) -> OptimiserState {
        let entry = |tensor: &StateTensor| IndexMap::from([(KEY.to_owned(), tensor.clone())]);
        OptimiserState { parameters: self.momentum.iter().map(|m| m.as_ref().map(entry)).collect() }
    }

    fn set_state(&mut self, state: &OptimiserState, parameters: &Parameters) -> Result<(), NetworkError> {
        let momentum = (0..parameters.len())
            .map(|i| Ok(state.tensors(i, [KEY], parameters)?.map(|[tensor]| tensor.clone())))
            .collect::<Result<_, NetworkError>>()?;
        self.momentum = momentum;
        Ok(())
    }
}
