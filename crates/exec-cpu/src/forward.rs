//! The forward pass: one kernel call per run.

use std::time::Instant;

use nnunet_kernels::conv::{self, Affine, Source, StatisticsMut, WriteMode};
use nnunet_kernels::layout;
use nnunet_kernels::{
    KernelError, Values, ValuesMut, activation, first_layer, gelu, head, norm, pooling, transposed,
};

use super::binding::{Binding, Phase, StepShape};
use super::memory_plan::{self, Rest};
use super::program::{Action, Norm, Step, Value, ValueId};
use super::runs::Run;
use super::weights::Direction;
use super::{CpuExecutor, NormState, kernel_fault};
use nnunet_graph::error::NetworkError;
use nnunet_graph::graph::{NodeId, ParameterId, RunningStatistics};
use nnunet_graph::parameters::Parameters;
use nnunet_graph::tensor::Tensor;

/// What readers of values need; borrowed apart from what is written.
pub(super) struct Readable<'a> {
    pub(super) values: &'a [Value],
    pub(super) binding: &'a Binding,
    pub(super) phase: Phase,
    pub(super) memory: &'a Rest<'a>,
    pub(super) norms: &'a [NormState],
    pub(super) ones: &'a [f32],
    pub(super) zeros: &'a [f32],
}

impl<'a> Readable<'a> {
    /// The raw content of a value.
    pub(super) fn raw(&self, value: ValueId) -> Values<'a> {
        let memory =
            self.binding.place(value, self.phase).and_then(|place| self.memory.get(place)).unwrap_or(&[]);
        self.binding.storage[value].values(memory, &self.binding.values[value])
    }

    /// A value with the norm and activation that its readers apply.
    pub(super) fn source(&self, value: ValueId) -> Source<'a> {
        let Value { norm, negative_slope, .. } = self.values[value];
        let len = self.binding.values[value].vector_len();
        let affine = match norm {
            Some(_) => {
                let state = &self.norms[value];
                Some(Affine { scale: &state.scale, shift: &state.shift, negative_slope })
            }
            None if negative_slope == 1.0 => None,
            None => Some(Affine { scale: &self.ones[..len], shift: &self.zeros[..len], negative_slope }),
        };
        Source { data: self.raw(value), affine }
    }
}

/// The value of an optional parameter.
pub(super) fn optional(parameters: &Parameters, id: Option<ParameterId>) -> Option<&[f32]> {
    id.map(|id| parameters.by_id(id).value())
}

/// What norms with running statistics do in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Take them.
    Evaluate,
    /// Take the batch's, and move the running ones.
    Train,
    /// Take the batch's: a step is run again in the backward pass.
    Again,
}

impl Mode {
    fn phase(self) -> Phase {
        if self == Self::Again { Phase::Backward } else { Phase::Forward }
    }
}

impl CpuExecutor {
    /// Runs what the binding names. `outputs` have their shapes already.
    pub(super) fn forward_steps(
        &mut self,
        binding: &Binding,
        input: &[f32],
        outputs: &mut [&mut Tensor],
        mode: Mode,
    ) -> Result<(), NetworkError> {
        let (graph, version) = (&self.graph, self.version);
        let start = Instant::now();
        self.weights.refresh(&self.context, graph, &self.program, binding, &self.parameters, version)?;
        self.note_time("pack", NodeId(0), start);
        binding.runs.iter().try_for_each(|run| self.run_forward_step(run, binding, input, outputs, mode))
    }

    /// Runs a step or a part of it into the memory that its value has in the phase of `mode`.
    pub(super) fn run_forward_step(
        &mut self,
        run: &Run,
        binding: &Binding,
        input: &[f32],
        outputs: &mut [&mut Tensor],
        mode: Mode,
    ) -> Result<(), NetworkError> {
        let start = Instant::now();
        let index = run.step;
        let Step { node, output, .. } = self.program.steps[index];
        if !binding.keeps_weights {
            let (weights, context) = (&mut self.weights, &self.context);
            weights
                .lend(Direction::Forward, index, context, &self.program, binding, &self.parameters)
                .map_err(|e| kernel_fault(&self.graph, node, &e))?;
        }
        // What is written is taken out while the kernel reads the rest.
        let mut memory = std::mem::take(&mut self.memory);
        let mut state = output.map(|v| std::mem::take(&mut self.norms[v])).unwrap_or_default();
        let place = output.and_then(|v| binding.place(v, mode.phase()).cloned());
        let (mut written, rest) = memory_plan::lend(&mut memory, &[place]);
        let raw = &mut *written[0];
        let mut done = self.forward_step(run, binding, input, &rest, raw, &mut state, outputs, mode);
        self.memory = memory;
        if !binding.keeps_weights {
            self.weights.give_back(Direction::Forward, index, binding);
        }
        if let Some(value) = output {
            self.norms[value] = state;
            if mode == Mode::Train {
                done = done.and_then(|()| self.move_running(value, binding));
            }
        }
        done.map_err(|e| kernel_fault(&self.graph, node, &e))?;
        self.note_time(if mode == Mode::Again { "forward again" } else { "forward" }, node, start);
        Ok(())
    }

    /// Moves the running statistics of the norm of `value`, if it has any, towards those of the batch.
    fn move_running(&mut self, value: ValueId, binding: &Binding) -> Result<(), KernelError> {
        let Some(running) = self.program.values[value].norm.and_then(|norm| norm.running) else {
            return Ok(());
        };
        let RunningStatistics { mean, variance, batches, momentum } = running;
        let count = &mut self.parameters.buffer_mut(batches)[0];
        *count += 1.0;
        let momentum = momentum.unwrap_or(1.0 / f64::from(*count));
        let (shape, state) = (&binding.values[value], &self.norms[value]);
        let (mean, variance) = self.parameters.two_buffers_mut(mean, variance);
        norm::update_running(shape, &state.mean, &state.variance, momentum, mean, variance)
    }

    fn forward_step(
        &self,
        run: &Run,
        binding: &Binding,
        input: &[f32],
        memory: &Rest<'_>,
        raw: &mut [f32],
        state: &mut NormState,
        outputs: &mut [&mut Tensor],
        mode: Mode,
    ) -> Result<(), KernelError> {
        let index = run.step;
        let Step { action, sources, output, .. } = &self.program.steps[index];
        let (context, parameters, step) = (&self.context, &self.parameters, &self.weights.steps[index]);
        let readable = self.readable(binding, mode.phase(), memory);
        let source = |i: usize| readable.source(sources[i]);
        let norm = output.and_then(|v| self.program.values[v].norm);
        let shape = output.map(|v| binding.values[v]);
        let NormState { mean, variance, scale, shift } = state;
        let running = norm.and_then(|norm| norm.running).filter(|_| mode == Mode::Evaluate);
        let measured = norm.filter(|_| run.last && running.is_none());
        let mut statistics = measured.map(|_| StatisticsMut { mean, variance });
        let target = match output {
            Some(value) => binding.storage[*value].values_mut(&mut *raw, &binding.values[*value]),
            None => ValuesMut::F32(&mut []),
        };
        match (action, &binding.steps[index]) {
            (Action::Import, StepShape::Elementwise(shape)) => {
                layout::to_blocked(context, shape, input, target)
            }
            (Action::FirstLayer(c), StepShape::Conv(shape, _)) => {
                let (weights, bias) = (parameters.by_id(c.weight).value(), optional(parameters, c.bias));
                first_layer::forward(context, shape, input, weights, bias, target, statistics.take())
            }
            (Action::Convolution(c), StepShape::Conv(shape, algorithms)) => {
                let read = &sources[run.sources.clone()];
                let read: Vec<Source<'_>> = read.iter().map(|&v| readable.source(v)).collect();
                conv::forward_part(
                    context,
                    shape,
                    run.sources.start,
                    &read,
                    step.forward(algorithms.data)?,
                    optional(parameters, c.bias).filter(|_| run.first),
                    target,
                    if run.first { WriteMode::Overwrite } else { WriteMode::Accumulate },
                    statistics.take(),
                )
            }
            (Action::Transposed { bias, .. }, StepShape::Transposed(shape)) => {
                let bias = optional(parameters, *bias);
                transposed::forward(context, shape, &source(0), step.transposed()?, bias, target)
            }
            (Action::Add { negative_slope }, StepShape::Elementwise(shape)) => {
                activation::add(context, shape, &source(0), &source(1), *negative_slope, target)
            }
            (Action::Materialise, StepShape::Elementwise(shape)) => {
                activation::apply(context, shape, &source(0), target)
            }
            (Action::Gelu, StepShape::Elementwise(shape)) => {
                gelu::forward(context, shape, &source(0), target)
            }
            (Action::AveragePool { .. }, StepShape::Pool(shape)) => {
                pooling::average_forward(context, shape, &source(0), target)
            }
            (Action::Head { weight, bias, index }, StepShape::Head(shape)) => {
                let (weights, bias) = (parameters.by_id(*weight).value(), optional(parameters, *bias));
                head::forward(context, shape, &source(0), weights, bias, &mut outputs[*index].data)
            }
            // `Binding::new` gives every action its kind of shape.
            _ => unreachable!("step and shape of different kinds"),
        }?;
        let (Some(Norm { over, affine, epsilon, .. }), Some(shape), true) = (norm, shape, run.last) else {
            return Ok(());
        };
        if let Some(statistics) = statistics {
            norm::statistics(context, &shape, raw, statistics)?;
        }
        let statistics = StatisticsMut { mean, variance };
        match running {
            None => norm::merge_statistics(&shape, over, statistics)?,
            Some(running) => {
                let (mean, variance) = (parameters.buffer(running.mean), parameters.buffer(running.variance));
                norm::use_running(&shape, mean, variance, statistics)?;
            }
        }
        let gamma = optional(parameters, affine.map(|(gamma, _)| gamma));
        let beta = optional(parameters, affine.map(|(_, beta)| beta));
        norm::scale_shift(&shape, mean, variance, gamma, beta, epsilon, scale, shift)
    }

    /// What readers of values need.
    pub(super) fn readable<'a>(
        &'a self,
        binding: &'a Binding,
        phase: Phase,
        memory: &'a Rest<'a>,
    ) -> Readable<'a> {
        Readable {
            values: &self.program.values,
            binding,
            phase,
            memory,
            norms: &self.norms,
            ones: &self.ones,
            zeros: &self.zeros,
        }
    }
}
