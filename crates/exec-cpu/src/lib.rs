//! The CPU executor: interprets a graph with the kernels of `nnunet-kernels`, forward and backward.
//!
//! At construction the graph becomes a program of fused steps ([`program`]). For each shape of batch the
//! shapes are inferred once and memory is planned by liveness ([`binding`], [`memory_plan`]); inference
//! and training share the same memory, which only grows, so nothing large is allocated in the steady state.
//! Between steps values are raw results in the blocked layout, f32 or rounded to bf16 ([`storage`]); norms and
//! activations are applied by the readers. Weights are packed again only after the parameters have changed. Results do not depend on the
//! number of threads.
#![forbid(unsafe_code)]

mod backend;
mod backward;
mod binding;
mod forward;
mod inference_order;
mod lifetimes;
pub mod loss;
mod memory_plan;
mod passes;
mod program;
mod runs;
mod storage;
mod weights;

use std::time::{Duration, Instant};

pub use backend::CpuBackend;
pub use nnunet_kernels::CpuLevel;
pub use nnunet_kernels::conv::Precision;
use nnunet_kernels::layout::AlignedBuffer;
use nnunet_kernels::{Context, KernelError};

use binding::{Binding, Purpose, StepShape};
use program::Program;
use weights::PackedWeights;

use nnunet_graph::backend::MemoryEstimate;
use nnunet_graph::error::NetworkError;
use nnunet_graph::graph::{Graph, NodeId};
use nnunet_graph::parameters::Parameters;

/// Settings of a [`CpuExecutor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads, the calling one included.
    pub threads: usize,
    /// How convolutions are computed.
    pub precision: Precision,
    /// Instruction set, lowered to what the machine has.
    pub level: CpuLevel,
    /// Whether training keeps only the results of stages and blocks and computes the rest again in the backward pass: less
    /// memory, more time, the same gradients to the bit.
    pub recompute: bool,
}

impl Default for CpuOptions {
    /// All cores, [`Precision::Fast`], the machine's best instruction set.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, precision: Precision::default(), level: CpuLevel::detect(), recompute: false }
    }
}

/// How long a step of a pass took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Pass and node, e.g. "backward decoder.stages.0.convs.0.conv".
    pub name: String,
    /// Wall clock.
    pub time: Duration,
}

/// Statistics of a normalised value and what its readers apply, per (sample, padded channel).
#[derive(Debug, Default)]
struct NormState {
    mean: Vec<f64>,
    variance: Vec<f64>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Runs a graph on the CPU. See the module's description.
#[derive(Debug)]
pub struct CpuExecutor {
    graph: Graph,
    program: Program,
    parameters: Parameters,
    /// Counts changes of the parameters.
    version: u64,
    precision: Precision,
    /// How training passes use memory.
    training_purpose: Purpose,
    context: Context,
    weights: PackedWeights,
    inference: Option<Binding>,
    training: Option<Binding>,
    /// Values and gradients, where the binding of the pass has them.
    memory: AlignedBuffer,
    /// By value; empty for values without a norm.
    norms: Vec<NormState>,
    /// Scale and shift that change nothing, for activations without a norm.
    ones: Vec<f32>,
    zeros: Vec<f32>,
    /// The batch of the last training forward pass, in plain layout.
    batch: Vec<f32>,
    /// Whether the memory holds what a backward pass needs.
    forward_done: bool,
    /// By value, during a backward pass: whether its gradient has been written.
    written: Vec<bool>,
    /// Times of the steps since the last call of [`CpuExecutor::record_timings`]; `None` when not wanted.
    timings: Option<Vec<Timing>>,
}

/// The error for a kernel that refused the shapes of `node`.
fn kernel_fault(graph: &Graph, node: NodeId, error: &KernelError) -> NetworkError {
    NetworkError::Kernel { node: graph.node(node).name.clone(), message: error.to_string() }
}

impl CpuExecutor {
    /// An executor for `graph` with `parameters`, which must be those of the graph.
    pub fn new(graph: Graph, parameters: Parameters, options: CpuOptions) -> Result<Self, NetworkError> {
        parameters.check(&graph)?;
        let program = program::compile(&graph)?;
        let norms = program.values.iter().map(|_| NormState::default()).collect();
        Ok(Self {
            graph,
            program,
            parameters,
            version: 0,
            precision: options.precision,
            training_purpose: if options.recompute { Purpose::Recomputing } else { Purpose::Training },
            context: Context::new(options.level, options.threads),
            weights: PackedWeights::default(),
            inference: None,
            training: None,
            memory: AlignedBuffer::default(),
            norms,
            ones: Vec::new(),
            zeros: Vec::new(),
            batch: Vec::new(),
            forward_done: false,
            written: Vec::new(),
            timings: None,
        })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.context.pool().threads()
    }

    /// Instruction set in use.
    pub fn level(&self) -> CpuLevel {
        self.context.level()
    }

    /// How convolutions are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Settings that make an equal executor.
    fn options(&self) -> CpuOptions {
        CpuOptions {
            threads: self.threads(),
            precision: self.precision,
            level: self.level(),
            recompute: matches!(self.training_purpose, Purpose::Recomputing),
        }
    }

    /// The parameters, with the gradients of the last backward pass.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters, to be changed; the next pass packs the weights again.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        self.version += 1;
        &mut self.parameters
    }

    /// The parameters, without the executor.
    pub fn into_parameters(self) -> Parameters {
        self.parameters
    }

    /// Begins or ends the recording of the time that each step takes; earlier times are dropped.
    pub fn record_timings(&mut self, on: bool) {
        self.timings = on.then(Vec::new);
    }

    /// The recorded times, in the order of execution.
    pub fn timings(&self) -> &[Timing] {
        self.timings.as_deref().unwrap_or(&[])
    }

    /// Notes the time since `start` under `what` and the name of `node`, if times are wanted.
    fn note_time(&mut self, what: &str, node: NodeId, start: Instant) {
        if let Some(timings) = &mut self.timings {
            let name = format!("{what} {}", self.graph.node(node).name);
            timings.push(Timing { name, time: start.elapsed() });
        }
    }

    /// Memory that batches of shape `input` (n, c, z, y, x) take, for inference or for training (with recomputation, if the
    /// executor was made so).
    pub fn memory_estimate(&self, input: [usize; 5], training: bool) -> Result<MemoryEstimate, NetworkError> {
        self.estimate(input, if training { self.training_purpose } else { Purpose::Inference })
    }

    /// Bytes that a training step on batches of shape `input` takes less because of recomputation; 0 without it.
    pub fn recomputation_saves(&self, input: [usize; 5]) -> Result<usize, NetworkError> {
        let (plain, own) =
            (self.estimate(input, Purpose::Training)?, self.estimate(input, self.training_purpose)?);
        Ok(plain.total().saturating_sub(own.total()))
    }

    /// Bytes of activations and gradients that are allocated now. They grow to what a new shape of batch needs, and stay.
    pub fn activations_allocated(&self) -> usize {
        self.memory.len() * size_of::<f32>()
    }

    /// A binding for batches of shape `input`.
    fn new_binding(&self, input: [usize; 5], purpose: Purpose) -> Result<Binding, NetworkError> {
        Binding::new(&self.graph, &self.program, input, purpose, self.precision, self.context.level())
    }

    fn estimate(&self, input: [usize; 5], purpose: Purpose) -> Result<MemoryEstimate, NetworkError> {
        let training = purpose != Purpose::Inference;
        let binding = self.new_binding(input, purpose)?;
        let float = size_of::<f32>();
        let count = self.parameters.total_count();
        let packed = weights::packed_len(&binding);
        let outputs = if training { &binding.outputs[..] } else { &binding.outputs[..1] };
        let border = outputs.iter().chain([&input]).map(|s| s.iter().product::<usize>()).sum::<usize>();
        let staging = binding.steps.iter().map(|step| match step {
            StepShape::Head(shape) if training => shape.staging_len(),
            _ => 0,
        });
        Ok(MemoryEstimate {
            activations: binding.memory.len * float,
            // Training adds gradients.
            weights: float * (if training { 2 * count } else { count } + packed),
            border: (border + staging.max().unwrap_or(0)) * float,
        })
    }

    /// Floating point operations of the convolutions of one forward pass over a batch of shape `input` (n, c, z, y, x) by direct sums:
    /// a multiplication and an addition per tap, taps in the padding counted. A backward pass has twice as many.
    pub fn forward_flops(&self, input: [usize; 5], training: bool) -> Result<f64, NetworkError> {
        let purpose = if training { Purpose::Training } else { Purpose::Inference };
        let binding = self.new_binding(input, purpose)?;
        let steps = self.program.steps.iter().zip(&binding.steps).filter(|(s, _)| training || s.inference);
        Ok(steps
            .map(|(_, shape)| match shape {
                StepShape::Conv(shape, _) => shape.flops(),
                StepShape::Transposed(shape) => shape.flops(),
                StepShape::Head(shape) => 2.0 * (shape.output_len() * shape.source.channels) as f64,
                StepShape::Pool(_) | StepShape::Elementwise(_) => 0.0,
            })
            .sum())
    }

    /// Makes the binding for `input` current and its memory available.
    fn bind(&mut self, input: [usize; 5], purpose: Purpose) -> Result<Binding, NetworkError> {
        let slot = match purpose {
            Purpose::Inference => &mut self.inference,
            Purpose::Training | Purpose::Recomputing => &mut self.training,
        };
        // Taken out for the time of the pass, so that it can be read while the executor is written.
        if let Some(binding) = slot.take_if(|b| b.input == input) {
            return Ok(binding);
        }
        self.new_binding(input, purpose)
    }

    /// Makes room for what `binding` needs. The memory never shrinks.
    fn reserve(&mut self, binding: &Binding) -> Result<(), NetworkError> {
        if !self.memory.try_grow(binding.memory.len) {
            let bytes = binding.memory.len.saturating_mul(size_of::<f32>());
            return Err(NetworkError::Memory { bytes, shape: binding.input });
        }
        let mut longest = 0;
        for ((state, value), shape) in self.norms.iter_mut().zip(&self.program.values).zip(&binding.values) {
            let len = shape.vector_len();
            longest = longest.max(len);
            if value.norm.is_some() {
                state.mean.resize(len, 0.0);
                state.variance.resize(len, 0.0);
                state.scale.resize(len, 0.0);
                state.shift.resize(len, 0.0);
            }
        }
        if self.ones.len() < longest {
            self.ones.resize(longest, 1.0);
            self.zeros.resize(longest, 0.0);
        }
        Ok(())
    }
}
