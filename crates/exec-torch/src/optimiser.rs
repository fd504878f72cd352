//! Optimisers on the device: PyTorch's fused forms, and Adan from single operations.

use std::sync::Arc;

use indexmap::IndexMap;
use nnunet_graph::optimiser::{
    AdamOptions, AdanOptions, Decay, OptimiserSpec, OptimiserState, Rates, SgdOptions, StateTensor,
};
use nnunet_graph::{NetworkError, Parameters};

use crate::error::during;
use crate::interface::{AdamStep, Dtype, Moments, SgdStep, Tensor, TorchError, adam, sgd};
use crate::network::sizes;
use crate::runtime::Runtime;

/// State of one parameter.
struct Slot {
    /// Steps so far.
    step: f64,
    /// The tensors of the state in the order of [`keys`].
    tensors: Vec<Tensor>,
}

/// An optimiser with its state on the device.
pub(crate) struct DeviceOptimiser {
    spec: OptimiserSpec,
    runtime: Arc<Runtime>,
    /// By parameter; `None` before its first step.
    slots: Vec<Option<Slot>>,
    /// Whether there was a step, or a state to go on from.
    started: bool,
}

/// Names of the tensors that the state of a parameter has, beside the number of steps.
fn keys(spec: &OptimiserSpec) -> &'static [&'static str] {
    match spec {
        OptimiserSpec::Sgd(options) if options.momentum == 0.0 => &[],
        OptimiserSpec::Sgd(_) => &["momentum_buffer"],
        OptimiserSpec::Adam(options) if options.amsgrad => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        OptimiserSpec::Adam(_) => &["exp_avg", "exp_avg_sq"],
        OptimiserSpec::Adan(_) => &["prev_grad", "m", "v", "n"],
    }
}

/// Whether the state of a parameter has the number of steps.
fn counts_steps(spec: &OptimiserSpec) -> bool {
    !matches!(spec, OptimiserSpec::Sgd(_))
}

impl DeviceOptimiser {
    /// `spec` without state for `parameters` parameters.
    pub(crate) fn new(spec: OptimiserSpec, parameters: usize, runtime: Arc<Runtime>) -> Self {
        Self { spec, runtime, slots: (0..parameters).map(|_| None).collect(), started: false }
    }

    /// One step of all parameters that have a gradient, each with its own rate.
    pub(crate) fn step(
        &mut self,
        values: &[Tensor],
        gradients: &[Option<Tensor>],
        rates: Rates<'_>,
    ) -> Result<(), TorchError> {
        self.started = true;
        // Fused steps take one rate and one count of steps: parameters are grouped by both.
        let mut groups: Vec<(f64, f64, Vec<usize>)> = Vec::new();
        for (index, _) in gradients.iter().enumerate().filter(|(_, gradient)| gradient.is_some()) {
            let factor = rates.factors.get(index).copied().unwrap_or(1.0);
            let step = self.slots[index].as_ref().map_or(0.0, |slot| slot.step);
            match groups.iter_mut().find(|(f, s, _)| (*f, *s) == (factor, step)) {
                Some((.., members)) => members.push(index),
                None => groups.push((factor, step, vec![index])),
            }
        }
        for (factor, step, members) in groups {
            for &index in &members {
                if self.slots[index].is_none() {
                    let shape = values[index].shape();
                    let zeros = || self.runtime.full(&shape, 0.0, Dtype::F32);
                    let tensors = keys(&self.spec).iter().map(|_| zeros()).collect::<Result<_, _>>()?;
                    self.slots[index] = Some(Slot { step: 0.0, tensors });
                }
            }
            let rate = rates.base * factor;
            let of_group: Vec<(&Tensor, &Tensor, &Slot)> = members
                .iter()
                .filter_map(|&i| Some((&values[i], gradients[i].as_ref()?, self.slots[i].as_ref()?)))
                .collect();
            match self.spec {
                OptimiserSpec::Sgd(options) => self.sgd(&of_group, options, rate, step == 0.0)?,
                OptimiserSpec::Adam(options) => self.adam(&of_group, options, rate, step + 1.0)?,
                OptimiserSpec::Adan(options) => {
                    of_group
                        .iter()
                        .try_for_each(|(w, g, slot)| adan(w, g, slot, options, rate, step + 1.0))?;
                }
            }
            for index in members {
                if let Some(slot) = &mut self.slots[index] {
                    slot.step += 1.0;
                }
            }
        }
        Ok(())
    }

    fn sgd(
        &self,
        group: &[(&Tensor, &Tensor, &Slot)],
        options: SgdOptions,
        rate: f64,
        first: bool,
    ) -> Result<(), TorchError> {
        let (values, gradients, [momentum]) = lists(group);
        let step = SgdStep {
            rate,
            weight_decay: options.weight_decay,
            momentum: options.momentum,
            // PyTorch's plain step looks ahead along a momentum that there must be then.
            nesterov: options.nesterov && options.momentum != 0.0,
            first,
        };
        sgd(&self.runtime.interface, &values, &gradients, &momentum, step)
    }

    fn adam(
        &self,
        group: &[(&Tensor, &Tensor, &Slot)],
        options: AdamOptions,
        rate: f64,
        step: f64,
    ) -> Result<(), TorchError> {
        let (values, gradients, [mean, square, largest]) = lists(group);
        let step = self.runtime.full(&[], step, Dtype::F32)?;
        let steps: Vec<&Tensor> = values.iter().map(|_| &step).collect();
        let moments = Moments { mean: &mean, square: &square, largest: &largest, steps: &steps };
        let step = AdamStep {
            rate,
            betas: options.betas,
            weight_decay: options.weight_decay,
            epsilon: options.epsilon,
            decoupled: options.decay == Decay::Decoupled,
        };
        adam(&self.runtime.interface, &values, &gradients, &moments, step)
    }

    /// The state on the host.
    pub(crate) fn state(&self) -> Result<OptimiserState, NetworkError> {
        let downloading = during("state of the optimiser");
        if !self.started {
            return Ok(OptimiserState::default());
        }
        let entry = |slot: &Slot| {
            let mut entry = IndexMap::new();
            if counts_steps(&self.spec) {
                let step = StateTensor { shape: Vec::new(), data: vec![slot.step as f32] };
                entry.insert("step".to_owned(), step);
            }
            for (key, tensor) in keys(&self.spec).iter().zip(&slot.tensors) {
                let shape = tensor.shape().iter().map(|&n| n as usize).collect();
                entry.insert((*key).to_owned(), StateTensor { shape, data: tensor.download()? });
            }
            Ok(entry)
        };
        let of = |slot: &Option<Slot>| match slot {
            // Without momentum there is nothing to remember.
            Some(slot) if counts_steps(&self.spec) || !slot.tensors.is_empty() => entry(slot).map(Some),
            _ => Ok(None),
        };
        let parameters = self.slots.iter().map(of).collect::<Result<_, _>>().map_err(downloading)?;
        Ok(OptimiserState { parameters })
    }

    /// The optimiser with `state` instead of its own.
    ///
    /// # Errors
    /// As the optimiser on the host has them: a parameter whose state has the wrong keys or sizes.
    pub(crate) fn with_state(
        &self,
        state: &OptimiserState,
        parameters: &Parameters,
    ) -> Result<Self, NetworkError> {
        self.spec.on_host().set_state(state, parameters)?;
        let uploading = during("state of the optimiser");
        let mut new = Self::new(self.spec, self.slots.len(), Arc::clone(&self.runtime));
        new.started = true;
        for ((slot, entry), (_, parameter)) in
            new.slots.iter_mut().zip(&state.parameters).zip(parameters.iter())
        {
            let Some(entry) = entry else { continue };
            let upload = |key: &&str| -> Result<Tensor, TorchError> {
                match entry.get(*key) {
                    Some(tensor) => self.runtime.upload(&tensor.data, &sizes(parameter.shape())),
                    // A largest square that an optimiser without AMSGrad has not kept.
                    None => self.runtime.full(&sizes(parameter.shape()), 0.0, Dtype::F32),
                }
            };
            let tensors =
                keys(&self.spec).iter().map(upload).collect::<Result<_, _>>().map_err(&uploading)?;
            let step =
                entry.get("step").and_then(|step| step.data.first()).map_or(1.0, |step| f64::from(*step));
            *slot = Some(Slot { step, tensors });
        }
        Ok(new)
    }

    /// Bytes of the state of `elements` numbers on the host.
    pub(crate) fn host_bytes(&self, elements: usize) -> usize {
        match self.runtime.on_host() {
            true => elements * self.spec.state_per_element() * size_of::<f32>(),
            false => 0,
        }
    }
}

/// Values, gradients and the first tensors of the state of a group, each as a list; lists that the state does not have are empty.
fn lists<'a, const N: usize>(
    group: &[(&'a Tensor, &'a Tensor, &'a Slot)],
) -> (Vec<&'a Tensor>, Vec<&'a Tensor>, [Vec<&'a Tensor>; N]) {
    let state = |at: usize| group.iter().filter_map(|(.., slot)| slot.tensors.get(at)).collect();
    (
        group.iter().map(|(value, ..)| *value).collect(),
        group.iter().map(|(_, gradient, _)| *gradient).collect(),
        std::array::from_fn(state),
    )
}

/// One step of Adan with the numbers of [`nnunet_graph::optimiser::Adan`].
fn adan(
    value: &Tensor,
    gradient: &Tensor,
    slot: &Slot,
    AdanOptions { betas: (b1, b2, b3), epsilon, weight_decay }: AdanOptions,
    rate: f64,
    step: f64,
) -> Result<(), TorchError> {
    let [previous, mean, change, square] = slot.tensors.as_slice() else { return Ok(()) };
    // The first step only stores the gradient: the averages stay zero.
    let [new_m, new_v, new_n] = if step > 1.0 { [b1, b2, b3] } else { [0.0; 3] };
    let correct = |beta: f64| 1.0 / (1.0 - (1.0 - beta).powf(step));
    let difference = gradient.plus(previous, -1.0)?;
    let ahead = gradient.plus(&difference, 1.0 - b2)?;
    let average = |old: &Tensor, new: &Tensor, share: f64| -> Result<(), TorchError> {
        old.copy_from(&old.scaled(1.0 - share)?.plus(new, share)?)
    };
    average(mean, gradient, new_m)?;
    average(change, &difference, new_v)?;
    average(square, &ahead.times(&ahead)?, new_n)?;
    let one = Tensor::number(value.interface(), 1.0)?;
    let root = square.scaled(correct(b3))?.sqrt()?.plus(&one, epsilon)?;
    let direction = mean.scaled(correct(b1))?.plus(change, (1.0 - b2) * correct(b2))?;
    let moved = value.plus(&direction.over(&root)?, -rate)?;
    value.copy_from(&moved.scaled(1.0 / (1.0 + weight_decay * rate))?)?;
    previous.copy_from(gradient)
}
