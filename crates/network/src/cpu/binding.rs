//! A program bound to the shape of a batch: shapes of all values and kernels, and the memory plan.

use nnunet_kernels::conv::{self, Algorithm, ConvShape, Precision, WeightsUse};
use nnunet_kernels::head::HeadShape;
use nnunet_kernels::layout::BlockedShape;
use nnunet_kernels::pooling::PoolShape;
use nnunet_kernels::transposed::TransposedShape;

use super::kernel_fault;
use super::memory_plan::{self, Lifetime, MemoryPlan};
use super::program::{Action, Program, Step, ValueId};
use crate::error::NetworkError;
use crate::graph::Graph;
use crate::shapes;

/// What a binding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Full-resolution output only; a value's memory is free after its last reader.
    Inference,
    /// All outputs; what the backward pass reads is kept, and gradients have memory.
    Training,
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Algorithms {
    /// Forward pass and data gradient.
    pub(super) data: Algorithm,
    /// Weight gradient.
    pub(super) weights: Algorithm,
}

/// The shape that a step's kernel takes.
#[derive(Debug, Clone)]
pub(super) enum StepShape {
    Conv(ConvShape, Algorithms),
    Transposed(TransposedShape),
    Pool(PoolShape),
    Head(HeadShape),
    /// Kernels that work on the shape of the result.
    Elementwise(BlockedShape),
}

/// Shapes and memory for one shape of batch.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) purpose: Purpose,
    /// Shape (n, c, z, y, x) of the batch.
    pub(super) input: [usize; 5],
    /// By value.
    pub(super) values: Vec<BlockedShape>,
    /// By step.
    pub(super) steps: Vec<StepShape>,
    /// Shape (n, c, z, y, x) of each output.
    pub(super) outputs: Vec<[usize; 5]>,
    /// Slots of the values first, of the gradients after.
    pub(super) memory: MemoryPlan,
    /// By value: index of the gradient's buffer in the memory plan. Two values can have the same one: a
    /// sum hands its gradient on to the term that it is the last reader of.
    gradient_buffer: Vec<Option<usize>>,
}

impl Binding {
    /// Infers shapes and plans memory for a batch of shape `input`.
    pub(super) fn new(
        graph: &Graph,
        program: &Program,
        input: [usize; 5],
        purpose: Purpose,
        precision: Precision,
    ) -> Result<Self, NetworkError> {
        let nodes = shapes::infer(graph, input)?;
        let blocked =
            |s: [usize; 5]| BlockedShape { batch: s[0], channels: s[1], spatial: [s[2], s[3], s[4]] };
        let values: Vec<BlockedShape> = program.values.iter().map(|v| blocked(nodes[v.node.0])).collect();
        let weights_use = match purpose {
            Purpose::Inference => WeightsUse::Fixed,
            Purpose::Training => WeightsUse::Changing,
        };
        let choose = |shape: &ConvShape| Algorithms {
            data: conv::choose(shape, precision, weights_use),
            weights: conv::choose_weight_gradient(shape, precision),
        };
        let steps = program
            .steps
            .iter()
            .map(|step| {
                step_shape(step, &values, blocked(nodes[step.node.0]), blocked(input), &choose)
                    .map_err(|e| kernel_fault(graph, step.node, &e))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = graph.outputs().iter().map(|id| nodes[id.0]).collect();
        let (lifetimes, gradient_buffer) = match purpose {
            Purpose::Inference => (inference_lifetimes(program, &values), vec![None; values.len()]),
            Purpose::Training => training_lifetimes(program, &values),
        };
        let memory = memory_plan::assign(&lifetimes);
        Ok(Self { purpose, input, values, steps, outputs, memory, gradient_buffer })
    }

    /// Slot of a value.
    pub(super) fn slot(&self, value: ValueId) -> Option<usize> {
        self.memory.slot[value]
    }

    /// Slot of a value's gradient.
    pub(super) fn gradient_slot(&self, value: ValueId) -> Option<usize> {
        self.memory.slot[self.gradient_buffer[value]?]
    }

    /// Whether two values have one gradient buffer.
    pub(super) fn shares_gradient(&self, a: ValueId, b: ValueId) -> bool {
        self.gradient_buffer[a].is_some() && self.gradient_buffer[a] == self.gradient_buffer[b]
    }
}

fn step_shape(
    step: &Step,
    values: &[BlockedShape],
    output: BlockedShape,
    input: BlockedShape,
    choose: &dyn Fn(&ConvShape) -> Algorithms,
) -> Result<StepShape, nnunet_kernels::KernelError> {
    let source = |i: usize| values[step.sources[i]];
    Ok(match &step.action {
        Action::FirstLayer(c) => {
            let channels = [input.channels];
            let shape =
                ConvShape::new(input.batch, input.spatial, &channels, output.channels, c.kernel, c.stride)?;
            StepShape::Conv(shape, Algorithms { data: Algorithm::Direct, weights: Algorithm::Direct })
        }
        Action::Convolution(c) => {
            let channels: Vec<usize> = step.sources.iter().map(|&v| values[v].channels).collect();
            let first = source(0);
            let shape =
                ConvShape::new(first.batch, first.spatial, &channels, output.channels, c.kernel, c.stride)?;
            let algorithms = choose(&shape);
            StepShape::Conv(shape, algorithms)
        }
        Action::Transposed { stride, .. } => {
            let s = source(0);
            StepShape::Transposed(TransposedShape::new(
                s.batch,
                s.spatial,
                s.channels,
                output.channels,
                *stride,
            )?)
        }
        Action::AveragePool { kernel } => StepShape::Pool(PoolShape::new(source(0), *kernel)?),
        Action::Head { .. } => StepShape::Head(HeadShape::new(source(0), output.channels)?),
        Action::Import => StepShape::Elementwise(input),
        Action::Add { .. } | Action::Materialise => StepShape::Elementwise(source(0)),
    })
}

/// Step index of each value's first and last mention, over the steps that `count`.
fn mentions(program: &Program, count: impl Fn(&Step) -> bool) -> Vec<Option<(usize, usize)>> {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; program.values.len()];
    for (t, step) in program.steps.iter().enumerate().filter(|(_, s)| count(s)) {
        for &value in step.output.iter().chain(&step.sources) {
            let span = spans[value].get_or_insert((t, t));
            span.1 = t;
        }
    }
    spans
}

fn inference_lifetimes(program: &Program, values: &[BlockedShape]) -> Vec<Option<Lifetime>> {
    let spans = mentions(program, |s| s.inference).into_iter().zip(values);
    spans.map(|(span, shape)| span.map(|(first, last)| Lifetime { len: shape.len(), first, last })).collect()
}

/// Lifetimes of values, then of gradients, and the gradient buffer of each value. Time runs through
/// the forward steps and back.
fn training_lifetimes(
    program: &Program,
    values: &[BlockedShape],
) -> (Vec<Option<Lifetime>>, Vec<Option<usize>>) {
    let count = program.values.len();
    let end = 2 * program.steps.len() - 1;
    let spans = mentions(program, |_| true);
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; 2 * count];
    for (t, step) in program.steps.iter().enumerate() {
        // The gradient of a weight reads what the convolution read.
        let reads_sources = step.action.weight().is_some();
        for &value in &step.sources {
            if let Some(life) = &mut lifetimes[value] {
                life.last = life.last.max(if reads_sources { end - t } else { t });
            }
        }
        if let Some(value) = step.output {
            let activated = matches!(step.action, Action::Add { negative_slope } if negative_slope != 1.0);
            let read = program.values[value].norm.is_some()
                || program.values[value].negative_slope != 1.0
                || activated;
            lifetimes[value] =
                Some(Lifetime { len: values[value].len(), first: t, last: if read { end - t } else { t } });
        }
    }
    let mut buffers: Vec<Option<usize>> = vec![None; count];
    for (t, step) in program.steps.iter().enumerate().rev() {
        let Some(value) = step.output else { continue };
        let Some((_, last_reader)) = spans[value].filter(|(_, last)| *last > t) else { continue };
        // Nobody asks for the batch's gradient, but a kernel writes those of all its sources or none.
        let with_others = program.steps.iter().any(|s| s.sources.len() > 1 && s.sources.contains(&value));
        if matches!(step.action, Action::Import) && !with_others {
            continue;
        }
        let buffer = match buffers[value] {
            Some(shared) => shared,
            None => {
                buffers[value] = Some(count + value);
                lifetimes[count + value] =
                    Some(Lifetime { len: values[value].len(), first: end - last_reader, last: end - t });
                count + value
            }
        };
        if let Some(life) = &mut lifetimes[buffer] {
            life.last = life.last.max(end - t);
        }
        if matches!(step.action, Action::Add { .. } | Action::Materialise) {
            let heir = step.sources.iter().find(|&&s| spans[s].is_some_and(|(_, last)| last == t));
            if let Some(&heir) = heir {
                buffers[heir] = Some(buffer);
            }
        }
    }
    (lifetimes, buffers)
}
