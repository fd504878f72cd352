//! Adam and AdamW. Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017, arXiv:1711.05101;
//! AMSGrad: Reddi et al. 2018, arXiv:1904.09237.
//!
//! PyTorch's semantics, with bias corrections in f64: m += (1 - b1) (g - m);
//! v = b2 v + (1 - b2) g^2; w -= rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon).

use indexmap::IndexMap;

use super::{Optimiser, OptimiserState, StateTensor};
use crate::error::NetworkError;
use crate::parameters::Parameters;

/// How weight decay acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// Added to the gradient (Adam).
    Coupled,
    /// Applied to the weight beside the gradient step (AdamW).
    Decoupled,
}

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub epsilon: f64,
    /// Strength of the weight decay.
    pub weight_decay: f64,
    /// How the weight decay acts.
    pub decay: Decay,
    /// Whether the denominator uses the largest second moment so far.
    pub amsgrad: bool,
}

impl AdamOptions {
    /// PyTorch's defaults of `Adam`.
    pub fn adam() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0, decay: Decay::Coupled, amsgrad: false }
    }

    /// PyTorch's defaults of `AdamW`.
    pub fn adamw() -> Self {
        Self { weight_decay: 1e-2, decay: Decay::Decoupled, ..Self::adam() }
    }
}

/// State of one parameter.
#[derive(Debug, Clone)]
struct Moments {
    shape: Vec<usize>,
    step: f64,
    mean: Vec<f32>,
    square: Vec<f32>,
    /// Empty without AMSGrad.
    largest_square: Vec<f32>,
}

/// Adam, or AdamW with [`Decay::Decoupled`].
#[derive(Debug, Clone)]
pub struct Adam {
    options: AdamOptions,
    moments: Vec<Option<Moments>>,
}

impl Adam {
    /// An optimiser without state.
    pub fn new(options: AdamOptions) -> Self {
        Self { options, moments: Vec::new() }
    }

    /// Its settings.
    pub fn options(&self) -> AdamOptions {
        self.options
    }
}

impl Optimiser for Adam {
    fn step(&mut self, parameters: &mut Parameters, learning_rate: f64) {
        let AdamOptions { betas: (b1, b2), epsilon, weight_decay, decay, amsgrad } = self.options;
        self.moments.resize(parameters.len(), None);
        for ((_, parameter), moments) in parameters.iter_mut().zip(&mut self.moments) {
            let shape = parameter.shape().to_vec();
            let Some((value, gradient)) = parameter.value_and_gradient() else { continue };
            let zeros = || vec![0.0; value.len()];
            let moments = moments.get_or_insert_with(|| Moments {
                shape,
                step: 0.0,
                mean: zeros(),
                square: zeros(),
                largest_square: if amsgrad { zeros() } else { Vec::new() },
            });
            moments.step += 1.0;
            let step_size = (learning_rate / (1.0 - b1.powf(moments.step))) as f32;
            let root_correction = (1.0 - b2.powf(moments.step)).sqrt() as f32;
            let (coupled, shrink) = match decay {
                Decay::Coupled => (weight_decay as f32, 1.0),
                Decay::Decoupled => (0.0, (1.0 - learning_rate * weight_decay) as f32),
            };
            let (new_mean, keep_square, new_square) = ((1.0 - b1) as f32, b2 as f32, (1.0 - b2) as f32);
            let epsilon = epsilon as f32;
            let advance = |w: &mut f32, g: f32, m: &mut f32, v: &mut f32| {
                *w *= shrink;
                let g = g + coupled * *w;
                *m += new_mean * (g - *m);
                *v = keep_square * *v + new_square * g * g;
            };
            let descend = |w: &mut f32, m: f32, square: f32| {
                *w -= step_size * m / (square.sqrt() / root_correction + epsilon);
            };
            // Two loops without a choice in them, so that each becomes vector code.
            let elements =
                value.iter_mut().zip(gradient).zip(moments.mean.iter_mut().zip(&mut moments.square));
            if amsgrad {
                for (((w, &mut g), (m, v)), largest) in elements.zip(&mut moments.largest_square) {
                    advance(w, g, m, v);
                    *largest = largest.max(*v);
                    descend(w, *m, *largest);
                }
            } else {
                for ((w, &mut g), (m, v)) in elements {
                    advance(w, g, m, v);
                    descend(w, *m, *v);
                }
            }
        }
    }

    fn state(&self) -> OptimiserState {
        let entry = |m: &Moments| {
            let tensor = |data: &[f32]| StateTensor { shape: m.shape.clone(), data: data.to_vec() };
            let step = StateTensor { shape: Vec::new(), data: vec![m.step as f32] };
            let mut entry = IndexMap::from([
                ("step".to_owned(), step),
                ("exp_avg".to_owned(), tensor(&m.mean)),
                ("exp_avg_sq".to_owned(), tensor(&m.square)),
            ]);
            if !m.largest_square.is_empty() {
                entry.insert("max_exp_avg_sq".to_owned(), tensor(&m.largest_square));
            }
            entry
        };
        OptimiserState { parameters: self.moments.iter().map(|m| m.as_ref().map(entry)).collect() }
    }

    fn set_state(&mut self, state: &OptimiserState, parameters: &Parameters) -> Result<(), NetworkError> {
        let mut all = Vec::with_capacity(parameters.len());
        for (i, (_, parameter)) in parameters.iter().enumerate() {
            let Some([step, mean, square]) =
                state.tensors(i, ["step", "exp_avg", "exp_avg_sq"], parameters)?
            else {
                all.push(None);
                continue;
            };
            let largest = match self.options.amsgrad {
                true => state.tensors(i, ["max_exp_avg_sq"], parameters)?.map(|[t]| t.data.clone()),
                false => None,
            };
            all.push(Some(Moments {
                shape: parameter.shape().to_vec(),
                step: f64::from(step.data[0]),
                mean: mean.data.clone(),
                square: square.data.clone(),
                largest_square: largest.unwrap_or_default(),
            }));
        }
        self.moments = all;
        Ok(())
    }
}
