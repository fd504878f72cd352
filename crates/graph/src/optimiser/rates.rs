//! Learning rates by parameter: layers that learn slower than others, and frozen ones.

use super::Optimiser;
use crate::parameters::Parameters;

/// Learning rates of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates<'a> {
    /// Rate of every parameter with the factor 1.
    pub base: f64,
    /// Factor of each parameter by its index; empty where all are 1. A parameter with the factor 0 is frozen: its gradient
    /// does not count for the norm, it does not decay, and the optimiser's state for it stays as it is.
    pub factors: &'a [f64],
}

impl From<f64> for Rates<'_> {
    fn from(base: f64) -> Self {
        Self { base, factors: &[] }
    }
}

impl Rates<'_> {
    fn factor(&self, index: usize) -> f64 {
        self.factors.get(index).copied().unwrap_or(1.0)
    }

    /// Makes the gradients of frozen parameters count as absent.
    pub fn drop_frozen_gradients(&self, parameters: &mut Parameters) {
        for (index, (_, parameter)) in parameters.iter_mut().enumerate() {
            if self.factor(index) == 0.0 {
                parameter.clear_gradient();
            }
        }
    }

    /// One step of `optimiser`, each parameter with its own rate. Every gradient that was there is there afterwards.
    pub fn step(&self, optimiser: &mut dyn Optimiser, parameters: &mut Parameters) {
        if self.factors.is_empty() {
            return optimiser.step(parameters, self.base);
        }
        let present: Vec<bool> = parameters.iter().map(|(_, p)| p.gradient().is_some()).collect();
        let mut factors: Vec<f64> = (0..present.len()).map(|index| self.factor(index)).collect();
        factors.sort_unstable_by(f64::total_cmp);
        factors.dedup();
        // An optimiser leaves parameters without a gradient alone, so each group can take a step of its own.
        for factor in factors.into_iter().filter(|factor| *factor != 0.0) {
            show(parameters, |index| present[index] && self.factor(index) == factor);
            optimiser.step(parameters, self.base * factor);
        }
        show(parameters, |index| present[index]);
    }
}

/// Lets the gradients of the parameters count that `is_shown` says, and no others.
fn show(parameters: &mut Parameters, is_shown: impl Fn(usize) -> bool) {
    for (index, (_, parameter)) in parameters.iter_mut().enumerate() {
        if is_shown(index) {
            // What is there counts again; nothing is overwritten.
            parameter.gradient_mut();
        } else {
            parameter.clear_gradient();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimiser::{Sgd, SgdOptions};

    #[test]
    fn each_parameter_steps_at_its_own_rate_and_frozen_ones_do_not_decay() {
        let mut parameters = Parameters::default();
        for name in ["a", "b", "c", "d"] {
            parameters.insert(name, vec![1], vec![1.0]).unwrap();
        }
        for (_, parameter) in parameters.iter_mut().take(3) {
            parameter.gradient_mut()[0] = 2.0;
        }
        let rates = Rates { base: 0.1, factors: &[1.0, 0.5, 0.0, 0.5] };
        rates.drop_frozen_gradients(&mut parameters);
        let mut sgd = Sgd::new(SgdOptions { momentum: 0.9, weight_decay: 1.0, nesterov: false });
        rates.step(&mut sgd, &mut parameters);
        // The gradient with decay is 3; the third is frozen, the fourth was not reached by the backward pass.
        let values: Vec<f32> = parameters.iter().map(|(_, p)| p.value()[0]).collect();
        let expected = [1.0 - 0.1 * 3.0, 1.0 - 0.05 * 3.0, 1.0, 1.0];
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
        let present: Vec<bool> = parameters.iter().map(|(_, p)| p.gradient().is_some()).collect();
        assert_eq!(present, [true, true, false, false]);
        let state = sgd.state().parameters;
        assert_eq!(state.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, false]);
    }
}
