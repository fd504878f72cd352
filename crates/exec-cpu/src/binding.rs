//! A program bound to the shape of a batch: shapes of all values and kernels, and the memory plan.

use std::ops::Range;

use nnunet_kernels::CpuLevel;
use nnunet_kernels::conv::{self, Algorithm, ConvShape, Precision, WeightsUse};
use nnunet_kernels::head::HeadShape;
use nnunet_kernels::layout::BlockedShape;
use nnunet_kernels::pooling::PoolShape;
use nnunet_kernels::transposed::TransposedShape;

use super::inference_order;
use super::kernel_fault;
use super::lifetimes::{self, Lifetimes};
use super::memory_plan::{self, MemoryPlan};
use super::program::{Action, Program, Step, ValueId};
use super::runs::{self, Run};
use super::storage::{self, Kept, Storage};
use nnunet_graph::error::NetworkError;
use nnunet_graph::graph::{Graph, Operation};
use nnunet_graph::shapes;

/// What a binding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Full-resolution output only; a value's memory is free after its last reader.
    Inference,
    /// All outputs; what the backward pass reads is kept, and gradients have memory.
    Training,
    /// As training, but only what several steps read is kept; the rest is computed again in the backward pass.
    Recomputing,
}

/// Which pass a value is read or written in. With [`Purpose::Recomputing`] it can have a memory of its own in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Forward,
    Backward,
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
    /// Whether the packed weights of convolutions stay for the next pass.
    pub(super) keeps_weights: bool,
    /// Shape (n, c, z, y, x) of the batch.
    pub(super) input: [usize; 5],
    /// By value.
    pub(super) values: Vec<BlockedShape>,
    /// By value: what it is kept as.
    pub(super) storage: Vec<Storage>,
    /// By step.
    pub(super) steps: Vec<StepShape>,
    /// The forward pass.
    pub(super) runs: Vec<Run>,
    /// Shape (n, c, z, y, x) of each output.
    pub(super) outputs: Vec<[usize; 5]>,
    /// Places of the values first, then of the gradients, then of values that are computed again.
    pub(super) memory: MemoryPlan,
    /// By step: the steps that have to be run again before its backward step, in order.
    pub(super) again: Vec<Vec<usize>>,
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
        level: CpuLevel,
    ) -> Result<Self, NetworkError> {
        let nodes = shapes::infer(graph, input)?;
        if purpose != Purpose::Inference {
            check_trainable(graph, &nodes)?;
        }
        let blocked =
            |s: [usize; 5]| BlockedShape { batch: s[0], channels: s[1], spatial: [s[2], s[3], s[4]] };
        let values: Vec<BlockedShape> = program.values.iter().map(|v| blocked(nodes[v.node.0])).collect();
        let weights_use = match purpose {
            Purpose::Inference => WeightsUse::Fixed,
            Purpose::Training | Purpose::Recomputing => WeightsUse::Changing,
        };
        let choose = |shape: &ConvShape| Algorithms {
            data: conv::choose(shape, precision, weights_use, level),
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
        let keeps_weights = purpose == Purpose::Inference && packing_share(&steps) > MOST_PACKING;
        let outputs = graph.outputs().iter().map(|id| nodes[id.0]).collect();
        let storage = storage::choose(program, precision);
        let kept = Kept { shapes: &values, storage: &storage };
        let runs = match purpose {
            // Parts are summed in another order; exact results are those of the training pass to the bit. What is rounded is not
            // added to.
            Purpose::Inference => {
                let in_parts = !matches!(precision, Precision::Exact | Precision::Bf16);
                inference_order::choose(program, kept, in_parts)
            }
            Purpose::Training | Purpose::Recomputing => runs::training(program),
        };
        let plan = match purpose {
            Purpose::Inference => lifetimes::inference(program, kept, &runs),
            Purpose::Training => lifetimes::training(program, kept, false),
            Purpose::Recomputing => lifetimes::training(program, kept, true),
        };
        let memory = memory_plan::assign(&plan.buffers);
        let Lifetimes { gradient_buffer, again, .. } = plan;
        Ok(Self {
            purpose,
            keeps_weights,
            input,
            values,
            storage,
            steps,
            runs,
            outputs,
            memory,
            again,
            gradient_buffer,
        })
    }

    /// Place of a value.
    pub(super) fn place(&self, value: ValueId, phase: Phase) -> Option<&Range<usize>> {
        let again = self.memory.place.get(2 * self.values.len() + value).and_then(Option::as_ref);
        again.filter(|_| phase == Phase::Backward).or(self.memory.place[value].as_ref())
    }

    /// Place of a value's gradient.
    pub(super) fn gradient_place(&self, value: ValueId) -> Option<&Range<usize>> {
        self.memory.place[self.gradient_buffer[value]?].as_ref()
    }

    /// Whether two values have one gradient buffer.
    pub(super) fn shares_gradient(&self, a: ValueId, b: ValueId) -> bool {
        self.gradient_buffer[a].is_some() && self.gradient_buffer[a] == self.gradient_buffer[b]
    }
}

/// Part of a pass's time that packing all weights may take. Below it inference does not keep them either: for large patches they
/// are a quarter of its memory.
const MOST_PACKING: f64 = 0.05;

/// Time to pack the weights of all convolutions, as part of the time that they take (both estimated).
fn packing_share(steps: &[StepShape]) -> f64 {
    let (mut packing, mut all) = (0.0, 0.0);
    for step in steps {
        if let StepShape::Conv(shape, algorithms) = step {
            packing += algorithms.data.packing_cycles(shape);
            all += algorithms.data.cycles(shape);
        }
    }
    packing / f64::max(all, 1.0)
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
        Action::Add { .. } | Action::Materialise | Action::Gelu => StepShape::Elementwise(source(0)),
    })
}

/// What cannot be trained but can be run: dropouts, and batch norms of a single value.
fn check_trainable(graph: &Graph, shapes: &[[usize; 5]]) -> Result<(), NetworkError> {
    for node in graph.nodes() {
        match node.operation {
            Operation::Dropout { probability, .. } if probability > 0.0 => {
                return Err(NetworkError::NotTrainable {
                    node: node.name.clone(),
                    found: format!("a dropout of probability {probability}"),
                    hint: "set dropout_op to null in the plans' arch_kwargs, or \"p\" in dropout_op_kwargs to 0",
                });
            }
            Operation::BatchNorm { input, .. } => {
                let shape = shapes[input.0];
                if shape[0] * shape[2] * shape[3] * shape[4] < 2 {
                    return Err(NetworkError::NotTrainable {
                        node: node.name.clone(),
                        found: format!("batch norm over one value per channel, batch of shape {shape:?}"),
                        hint: "use a larger batch or patch",
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}
