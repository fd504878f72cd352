//! Adan. Xie et al. 2022, arXiv:2208.06677, as the package `adan-pytorch` 0.1.0 has it, which nnU-Net uses.
//!
//! With gradient g, its change d since the last step, and averages that start at zero and stay there in the first step:
//! m += b1 (g - m); v += b2 (d - v); n += b3 ((g + (1 - b2) d)^2 - n);
//! w = (w - rate / (sqrt(n / c3) + epsilon) * (m / c1 + (1 - b2) v / c2)) / (1 + rate * decay), with c = 1 - (1 - b)^step.

use indexmap::IndexMap;

use super::{Optimiser, OptimiserState, StateTensor};
use crate::error::NetworkError;
use crate::parameters::Parameters;

/// Settings of [`Adan`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdanOptions {
    /// Shares of the new value in the averages of gradient, its change, and their square.
    pub betas: (f64, f64, f64),
    /// Added to the denominator.
    pub epsilon: f64,
    /// Strength of the weight decay.
    pub weight_decay: f64,
}

impl Default for AdanOptions {
    /// The package's defaults.
    fn default() -> Self {
        Self { betas: (0.02, 0.08, 0.01), epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// State of one parameter.
#[derive(Debug, Clone)]
struct Averages {
    shape: Vec<usize>,
    step: f64,
    previous: Vec<f32>,
    gradient: Vec<f32>,
    change: Vec<f32>,
    square: Vec<f32>,
}

/// Adaptive Nesterov momentum.
#[derive(Debug, Clone)]
pub struct Adan {
    options: AdanOptions,
    averages: Vec<Option<Averages>>,
}

impl Adan {
    /// An optimiser without state.
    pub fn new(options: AdanOptions) -> Self {
        Self { options, averages: Vec::new() }
    }

    /// Its settings.
    pub fn options(&self) -> AdanOptions {
        self.options
    }
}

/// Names in `state_dict()`, in its order.
const KEYS: [&str; 5] = ["step", "prev_grad", "m", "v", "n"];

impl Optimiser for Adan {
    fn step(&mut self, parameters: &mut Parameters, learning_rate: f64) {
        let AdanOptions { betas: (b1, b2, b3), epsilon, weight_decay } = self.options;
        self.averages.resize(parameters.len(), None);
        for ((_, parameter), averages) in parameters.iter_mut().zip(&mut self.averages) {
            let shape = parameter.shape().to_vec();
            let Some((value, gradient)) = parameter.value_and_gradient() else { continue };
            let zeros = || vec![0.0; value.len()];
            let averages = averages.get_or_insert_with(|| Averages {
                shape,
                step: 0.0,
                previous: zeros(),
                gradient: zeros(),
                change: zeros(),
                square: zeros(),
            });
            // The first step only stores the gradient: the averages stay zero, and so do their new shares.
            let [new_m, new_v, new_n] = match averages.step > 0.0 {
                true => [b1 as f32, b2 as f32, b3 as f32],
                false => [0.0; 3],
            };
            averages.step += 1.0;
            let correction = |beta: f64| (1.0 / (1.0 - (1.0 - beta).powf(averages.step))) as f32;
            let (correct_m, correct_v, correct_n) = (correction(b1), correction(b2), correction(b3));
            let (keep_v, rate, epsilon) = ((1.0 - b2) as f32, learning_rate as f32, epsilon as f32);
            let shrink = (1.0 + weight_decay * learning_rate) as f32;
            let moments = averages.gradient.iter_mut().zip(&mut averages.change).zip(&mut averages.square);
            let elements = value.iter_mut().zip(gradient.iter()).zip(&mut averages.previous).zip(moments);
            for (((w, &g), previous), ((m, v), n)) in elements {
                let change = g - *previous;
                let ahead = g + keep_v * change;
                *m = (1.0 - new_m) * *m + new_m * g;
                *v = (1.0 - new_v) * *v + new_v * change;
                *n = (1.0 - new_n) * *n + new_n * ahead * ahead;
                let step_size = rate / ((*n * correct_n).sqrt() + epsilon);
                *w = (*w - step_size * (*m * correct_m + keep_v * *v * correct_v)) / shrink;
                *previous = g;
            }
        }
    }

    fn state(&self) -> OptimiserState {
        let entry = |a: &Averages| {
            let tensor = |data: &[f32]| StateTensor { shape: a.shape.clone(), data: data.to_vec() };
            let step = StateTensor { shape: Vec::new(), data: vec![a.step as f32] };
            let tensors =
                [step, tensor(&a.previous), tensor(&a.gradient), tensor(&a.change), tensor(&a.square)];
            KEYS.iter().map(|&key| key.to_owned()).zip(tensors).collect::<IndexMap<_, _>>()
        };
        OptimiserState { parameters: self.averages.iter().map(|a| a.as_ref().map(entry)).collect() }
    }

    fn set_state(&mut self, state: &OptimiserState, parameters: &Parameters) -> Result<(), NetworkError> {
        let of = |(i, parameter): (usize, &[usize])| {
            let Some(tensors) = state.tensors(i, KEYS, parameters)? else { return Ok(None) };
            let [step, previous, gradient, change, square] = tensors.map(|tensor| tensor.data.clone());
            Ok(Some(Averages {
                shape: parameter.to_vec(),
                step: f64::from(step[0]),
                previous,
                gradient,
                change,
                square,
            }))
        };
        let shapes = parameters.iter().map(|(_, parameter)| parameter.shape());
        self.averages = shapes.enumerate().map(of).collect::<Result<_, NetworkError>>()?;
        Ok(())
    }
}
