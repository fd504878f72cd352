//! The backward pass: the steps in reverse, each from the gradient of its result to those of its weights
//! and sources.
//!
//! A value's gradient is first that of what its readers see; before its writer is reached all readers
//! have added theirs, and activation and norm are then undone in place. Whether a reader overwrites or
//! adds is decided as it comes, since heads without a gradient are left out. Values that were not kept are computed again just
//! before the first step that reads them.

use std::ops::Range;
use std::time::Instant;

use nnunet_kernels::conv::{self, GradientTarget, Source, WriteMode};
use nnunet_kernels::norm::{NormBackward, NormGradients};
use nnunet_kernels::{KernelError, activation, first_layer, gelu, head, norm, pooling, transposed};

use super::binding::{Binding, Phase, StepShape};
use super::forward::{Mode, optional};
use super::memory_plan::{self, Rest};
use super::program::{Action, Norm, Step, ValueId};
use super::runs::Run;
use super::weights::Direction;
use super::{CpuExecutor, kernel_fault};
use nnunet_graph::error::NetworkError;
use nnunet_graph::parameters::Parameters;
use nnunet_graph::tensor::Tensor;

impl CpuExecutor {
    pub(super) fn backward_steps(
        &mut self,
        binding: &Binding,
        gradients: &[Option<Tensor>],
    ) -> Result<(), NetworkError> {
        self.parameters.clear_gradients();
        self.written.clear();
        self.written.resize(self.program.values.len(), false);
        // The parameters are taken out: values are read while gradients are written.
        let mut parameters = std::mem::take(&mut self.parameters);
        let mut done = Ok(());
        for index in (0..self.program.steps.len()).rev() {
            done = self
                .run_again(index, binding, &mut parameters)
                .and_then(|()| self.backward_step(index, binding, gradients, &mut parameters));
            if done.is_err() {
                break;
            }
        }
        self.parameters = parameters;
        done
    }

    /// Computes again what the backward step of `index` reads and was not kept.
    fn run_again(
        &mut self,
        index: usize,
        binding: &Binding,
        parameters: &mut Parameters,
    ) -> Result<(), NetworkError> {
        if binding.again[index].is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        std::mem::swap(&mut self.parameters, parameters);
        let done = binding.again[index].iter().try_for_each(|&step| {
            let run = Run::whole(step, &self.program.steps[step]);
            self.run_forward_step(&run, binding, &batch, &mut [], Mode::Again)
        });
        std::mem::swap(&mut self.parameters, parameters);
        self.batch = batch;
        done
    }

    fn backward_step(
        &mut self,
        index: usize,
        binding: &Binding,
        gradients: &[Option<Tensor>],
        parameters: &mut Parameters,
    ) -> Result<(), NetworkError> {
        let Step { node, output, .. } = self.program.steps[index];
        let given = match self.program.steps[index].action {
            Action::Head { index: which, .. } => match gradients.get(which).and_then(Option::as_ref) {
                Some(gradient) => Some(&gradient.data),
                None => return Ok(()),
            },
            _ => None,
        };
        let value = output.filter(|&v| self.written[v]);
        let own = value.and_then(|v| binding.gradient_place(v).cloned());
        if given.is_none() && own.is_none() {
            return Ok(());
        }
        // The gradients of the result and of the sources are taken out while values are read. A source that shares the
        // result's buffer has its gradient already.
        let shares = |v: ValueId| output.is_some_and(|o| binding.shares_gradient(o, v));
        let sources = self.program.steps[index].sources.iter();
        let sources = sources.map(|&v| binding.gradient_place(v).filter(|_| !shares(v)).cloned());
        let places: Vec<Option<Range<usize>>> = std::iter::once(own).chain(sources).collect();
        let mut memory = std::mem::take(&mut self.memory);
        let (mut written, rest) = memory_plan::lend(&mut memory, &places);
        let done = match (written.split_first_mut(), value) {
            (Some((own, sources)), Some(value)) => {
                let start = Instant::now();
                let done = self
                    .through_norm(value, binding, &rest, own, parameters)
                    .and_then(|()| self.through_sum(index, value, binding, &rest, own));
                self.note_time("norm backward", node, start);
                done.and_then(|()| self.through_step(index, binding, &rest, own, parameters, sources))
            }
            (Some((_, sources)), None) => {
                let given = given.map_or(&[][..], |given| given);
                self.through_step(index, binding, &rest, given, parameters, sources)
            }
            (None, _) => Ok(()),
        };
        self.memory = memory;
        done.map_err(|e| kernel_fault(&self.graph, node, &e))
    }

    /// From the gradient of an activated sum to that of the sum, in place: its sign is that of what was activated.
    fn through_sum(
        &self,
        index: usize,
        value: ValueId,
        binding: &Binding,
        memory: &Rest<'_>,
        gradient: &mut [f32],
    ) -> Result<(), KernelError> {
        match self.program.steps[index].action {
            Action::Add { negative_slope } if negative_slope != 1.0 => {
                let activated = self.readable(binding, Phase::Backward, memory).raw(value);
                let shape = &binding.values[value];
                activation::leaky_relu_backward(&self.context, shape, activated, negative_slope, gradient)
            }
            _ => Ok(()),
        }
    }

    /// From the gradient of what readers of `value` see to that of its raw content, in place.
    fn through_norm(
        &self,
        value: ValueId,
        binding: &Binding,
        memory: &Rest<'_>,
        gradient: &mut [f32],
        parameters: &mut Parameters,
    ) -> Result<(), KernelError> {
        let readable = self.readable(binding, Phase::Backward, memory);
        let (shape, negative_slope) = (&binding.values[value], self.program.values[value].negative_slope);
        let raw = readable.raw(value);
        let Some(Norm { over, affine, epsilon, .. }) = self.program.values[value].norm else {
            if negative_slope == 1.0 {
                return Ok(());
            }
            return activation::leaky_relu_backward(&self.context, shape, raw, negative_slope, gradient);
        };
        let state = &self.norms[value];
        let mut taken =
            affine.map(|(gamma, beta)| (parameters.take_gradient(gamma), parameters.take_gradient(beta)));
        let wanted = match &mut taken {
            Some((gamma, beta)) => NormGradients { gamma: Some(gamma), beta: Some(beta) },
            None => NormGradients::default(),
        };
        let norm = NormBackward {
            over,
            raw,
            scale: &state.scale,
            shift: &state.shift,
            mean: &state.mean,
            variance: &state.variance,
            gamma: optional(parameters, affine.map(|(gamma, _)| gamma)),
            eps: epsilon,
            negative_slope,
        };
        let done = norm::backward(&self.context, shape, &norm, gradient, wanted);
        if let (Some((gamma, beta)), Some((gamma_gradient, beta_gradient))) = (affine, taken) {
            parameters.put_gradient(gamma, gamma_gradient);
            parameters.put_gradient(beta, beta_gradient);
        }
        done
    }

    /// From the gradient of a step's raw result to those of its weights and sources; the latter go to `targets`, one for each.
    fn through_step(
        &mut self,
        index: usize,
        binding: &Binding,
        memory: &Rest<'_>,
        gradient: &[f32],
        parameters: &mut Parameters,
        targets: &mut [&mut [f32]],
    ) -> Result<(), KernelError> {
        let (node, start) = (self.program.steps[index].node, Instant::now());
        self.weight_gradients(index, binding, memory, gradient, parameters)?;
        self.note_time("weight gradient", node, start);
        let start = Instant::now();
        if self.program.steps[index].sources.iter().all(|&v| binding.gradient_place(v).is_none()) {
            return Ok(());
        }
        let (weights, context) = (&mut self.weights, &self.context);
        weights.lend(Direction::Data, index, context, &self.program, binding, parameters)?;
        let done = self.source_gradients(index, binding, memory, gradient, parameters, targets);
        self.weights.give_back(Direction::Data, index, binding);
        for &source in &self.program.steps[index].sources {
            self.written[source] = true;
        }
        self.note_time("data gradient", node, start);
        done
    }

    fn weight_gradients(
        &self,
        index: usize,
        binding: &Binding,
        memory: &Rest<'_>,
        gradient: &[f32],
        parameters: &mut Parameters,
    ) -> Result<(), KernelError> {
        let Step { action, sources, .. } = &self.program.steps[index];
        let (context, readable) = (&self.context, self.readable(binding, Phase::Backward, memory));
        let (weight, bias, cancelled) = match action {
            Action::FirstLayer(c) | Action::Convolution(c) => (c.weight, c.bias, c.cancelled_bias),
            Action::Transposed { weight, bias, cancelled_bias, .. } => (*weight, *bias, *cancelled_bias),
            Action::Head { weight, bias, .. } => (*weight, *bias, None),
            Action::Import
            | Action::Add { .. }
            | Action::AveragePool { .. }
            | Action::Materialise
            | Action::Gelu => return Ok(()),
        };
        if let Some(bias) = cancelled {
            parameters.by_id_mut(bias).gradient_mut().fill(0.0);
        }
        let mut weights = parameters.take_gradient(weight);
        let bias = bias.filter(|_| cancelled.is_none());
        let mut biases = bias.map(|id| parameters.take_gradient(id));
        let (w, b) = (&mut weights[..], biases.as_deref_mut());
        let done = match (action, &binding.steps[index]) {
            (Action::FirstLayer(_), StepShape::Conv(shape, _)) => {
                first_layer::backward_weights(context, shape, &self.batch, gradient, w, b)
            }
            (Action::Convolution(_), StepShape::Conv(shape, algorithms)) => {
                let all: Vec<Source<'_>> = sources.iter().map(|&v| readable.source(v)).collect();
                conv::backward_weights_with(context, shape, algorithms.weights, &all, gradient, w, b)
            }
            (Action::Transposed { .. }, StepShape::Transposed(shape)) => {
                transposed::backward_weights(context, shape, &readable.source(sources[0]), gradient, w, b)
            }
            (Action::Head { .. }, StepShape::Head(shape)) => {
                head::backward_weights(context, shape, &readable.source(sources[0]), gradient, w, b)
            }
            // `Binding::new` gives every action its kind of shape.
            _ => unreachable!("step and shape of different kinds"),
        };
        parameters.put_gradient(weight, weights);
        if let (Some(id), Some(biases)) = (bias, biases) {
            parameters.put_gradient(id, biases);
        }
        done
    }

    /// Writes the gradients of the sources to `targets`, one for each; an empty one needs none.
    fn source_gradients(
        &self,
        index: usize,
        binding: &Binding,
        memory: &Rest<'_>,
        gradient: &[f32],
        parameters: &Parameters,
        targets: &mut [&mut [f32]],
    ) -> Result<(), KernelError> {
        let Step { action, sources, .. } = &self.program.steps[index];
        let (context, step) = (&self.context, &self.weights.steps[index]);
        let modes = sources.iter().map(|&source| match self.written[source] {
            true => WriteMode::Accumulate,
            false => WriteMode::Overwrite,
        });
        let mut targets: Vec<GradientTarget<'_>> =
            targets.iter_mut().zip(modes).map(|(data, mode)| GradientTarget { data, mode }).collect();
        match (action, &binding.steps[index]) {
            (Action::Convolution(_), StepShape::Conv(shape, algorithms)) => {
                conv::backward_data(context, shape, gradient, step.data(algorithms.data)?, &mut targets)
            }
            (Action::Transposed { .. }, StepShape::Transposed(shape)) => {
                transposed::backward_data(context, shape, gradient, step.transposed()?, &mut targets[0])
            }
            (Action::Head { weight, .. }, StepShape::Head(shape)) => {
                let weights = parameters.by_id(*weight).value();
                head::backward_data(context, shape, gradient, weights, &mut targets[0])
            }
            (Action::AveragePool { .. }, StepShape::Pool(shape)) => {
                pooling::average_backward(context, shape, gradient, &mut targets[0])
            }
            (Action::Gelu, StepShape::Elementwise(shape)) => {
                let source = self.readable(binding, Phase::Backward, memory).source(sources[0]);
                gelu::backward(context, shape, &source, gradient, &mut targets[0])
            }
            (Action::Add { .. } | Action::Materialise, StepShape::Elementwise(shape)) => {
                for target in targets.iter_mut().filter(|t| !t.data.is_empty()) {
                    match target.mode {
                        WriteMode::Overwrite => target.data.copy_from_slice(gradient),
                        WriteMode::Accumulate => {
                            activation::accumulate(context, shape, gradient, target.data)?
                        }
                    }
                }
                Ok(())
            }
            (Action::Import | Action::FirstLayer(_), _) => Ok(()),
            // `Binding::new` gives every action its kind of shape.
            _ => unreachable!("step and shape of different kinds"),
        }
    }
}
