//! A graph turned into steps over values: what can be fused is fused here, independent of the batch.
//!
//! A value is a buffer in the blocked layout together with what its readers apply when they load it: a norm
//! (as scale and shift per sample and channel) and a leaky ReLU. So convolution, norm and activation are one
//! step, a concatenation is a list of sources, and only sums, poolings, GELUs and copies write activated
//! values. A bias in front of an instance norm has no effect and is left out; its gradient is zero, as is that of
//! a bias in front of a batch norm, which only shifts the running mean. A dropout is nothing: networks with one
//! are not trained here.

use nnunet_kernels::first_layer::FEW_CHANNELS;
use nnunet_kernels::norm::NormOver;

use nnunet_graph::error::NetworkError;
use nnunet_graph::graph::{Graph, Node, NodeId, Operation, ParameterId, RunningStatistics};

/// Index of a value.
pub(super) type ValueId = usize;

/// A norm that readers of a value apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) over: NormOver,
    pub(super) affine: Option<(ParameterId, ParameterId)>,
    pub(super) epsilon: f64,
    /// What is normalised with outside of training, and moved by training.
    pub(super) running: Option<RunningStatistics>,
}

/// A buffer between steps.
#[derive(Debug)]
pub(super) struct Value {
    /// The node whose shape the buffer has.
    pub(super) node: NodeId,
    pub(super) norm: Option<Norm>,
    /// Slope that readers apply to the negative side (after the norm); 1 is no activation.
    pub(super) negative_slope: f32,
}

/// Weights of a convolution and its sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub(super) weight: ParameterId,
    /// Absent where it has no effect.
    pub(super) bias: Option<ParameterId>,
    /// A bias that a norm cancels: its gradient is zero.
    pub(super) cancelled_bias: Option<ParameterId>,
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
}

/// What a step does. Steps stand in the order of computation.
#[derive(Debug)]
pub(super) enum Action {
    /// The batch from plain to blocked layout.
    Import,
    /// Convolution of the batch in plain layout.
    FirstLayer(Convolution),
    /// Convolution of concatenated sources.
    Convolution(Convolution),
    /// Transposed convolution.
    Transposed {
        weight: ParameterId,
        bias: Option<ParameterId>,
        cancelled_bias: Option<ParameterId>,
        stride: [usize; 3],
    },
    /// Sum of two sources, activated.
    Add { negative_slope: f32 },
    /// Mean over blocks.
    AveragePool { kernel: [usize; 3] },
    /// The source with norm and activation applied.
    Materialise,
    /// GELU of the source.
    Gelu,
    /// 1x1x1 convolution to output `index`, in plain layout.
    Head { weight: ParameterId, bias: Option<ParameterId>, index: usize },
}

impl Action {
    /// The weight of a convolution of any kind.
    pub(super) fn weight(&self) -> Option<ParameterId> {
        match self {
            Self::FirstLayer(c) | Self::Convolution(c) => Some(c.weight),
            Self::Transposed { weight, .. } | Self::Head { weight, .. } => Some(*weight),
            _ => None,
        }
    }

    /// Whether the backward pass of the step reads its sources.
    pub(super) fn backward_reads_sources(&self) -> bool {
        self.weight().is_some() || matches!(self, Self::Gelu)
    }
}

/// One step: reads `sources`, writes `output` (heads write an output of the network instead).
#[derive(Debug)]
pub(super) struct Step {
    pub(super) node: NodeId,
    pub(super) action: Action,
    pub(super) sources: Vec<ValueId>,
    pub(super) output: Option<ValueId>,
    /// Whether the full-resolution output depends on it.
    pub(super) inference: bool,
}

/// The steps of a graph.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) values: Vec<Value>,
}

/// What a node's result is, for its readers.
#[derive(Debug, Clone)]
enum View {
    /// The batch in plain layout.
    Plain,
    /// One value, or several to be concatenated.
    Values(Vec<ValueId>),
    /// An output of the network.
    Output,
}

struct Compiler<'a> {
    graph: &'a Graph,
    readers: Vec<usize>,
    views: Vec<View>,
    program: Program,
    imported: Option<ValueId>,
}

/// Compiles `graph`. Errors name a node that this executor cannot run.
pub(super) fn compile(graph: &Graph) -> Result<Program, NetworkError> {
    let mut readers = vec![0; graph.nodes().len()];
    let is_dropout = |node: &Node| matches!(node.operation, Operation::Dropout { .. });
    for node in graph.nodes().iter().filter(|node| !is_dropout(node)) {
        node.inputs().iter().for_each(|id| readers[before_dropout(graph, *id).0] += 1);
    }
    graph.outputs().iter().for_each(|id| readers[id.0] += 1);
    let program = Program { steps: Vec::new(), values: Vec::new() };
    let mut compiler = Compiler { graph, readers, views: Vec::new(), program, imported: None };
    for index in 0..graph.nodes().len() {
        let view = compiler.node(NodeId(index))?;
        compiler.views.push(view);
    }
    for &output in graph.outputs() {
        if !matches!(compiler.views[output.0], View::Output) {
            return Err(compiler.unsupported(output, "an output that is not a 1x1x1 convolution"));
        }
    }
    let mut weights: Vec<ParameterId> =
        compiler.program.steps.iter().filter_map(|s| s.action.weight()).collect();
    weights.sort();
    if let Some(pair) = weights.windows(2).find(|w| w[0] == w[1]) {
        let what = format!("a weight in two places (\"{}\")", graph.parameter(pair[0]).name);
        return Err(compiler.unsupported(NodeId(0), &what));
    }
    compiler.program.mark_inference();
    Ok(compiler.program)
}

/// The node that `id` stands for where dropouts change nothing.
fn before_dropout(graph: &Graph, mut id: NodeId) -> NodeId {
    while let Operation::Dropout { input, .. } = graph.node(id).operation {
        id = input;
    }
    id
}

impl Compiler<'_> {
    fn unsupported(&self, node: NodeId, what: &str) -> NetworkError {
        NetworkError::Unsupported { node: self.graph.node(node).name.clone(), what: what.into() }
    }

    fn value(&mut self, node: NodeId) -> ValueId {
        self.program.values.push(Value { node, norm: None, negative_slope: 1.0 });
        self.program.values.len() - 1
    }

    fn step(&mut self, node: NodeId, action: Action, sources: Vec<ValueId>, output: Option<ValueId>) {
        self.program.steps.push(Step { node, action, sources, output, inference: false });
    }

    /// Adds a step with a new value as its result.
    fn produce(&mut self, node: NodeId, action: Action, sources: Vec<ValueId>) -> View {
        let output = self.value(node);
        self.step(node, action, sources, Some(output));
        View::Values(vec![output])
    }

    /// The values that `input` stands for; the batch is converted to the blocked layout once.
    fn sources(&mut self, node: NodeId, input: NodeId) -> Result<Vec<ValueId>, NetworkError> {
        match self.views[input.0].clone() {
            View::Values(values) => Ok(values),
            View::Output => Err(self.unsupported(node, "reading an output of the network")),
            View::Plain => {
                let value = match self.imported {
                    Some(value) => value,
                    None => {
                        let value = self.value(input);
                        self.step(input, Action::Import, Vec::new(), Some(value));
                        self.imported = Some(value);
                        value
                    }
                };
                Ok(vec![value])
            }
        }
    }

    fn single(&mut self, node: NodeId, input: NodeId) -> Result<ValueId, NetworkError> {
        match self.sources(node, input)?[..] {
            [value] => Ok(value),
            _ => Err(self.unsupported(node, "this operation on a concatenation")),
        }
    }

    /// A value that norm or activation can be attached to: `input`'s own if nobody else reads it, it was
    /// computed by a step, and `free` says so; else a copy.
    fn attachable(
        &mut self,
        node: NodeId,
        input: NodeId,
        free: impl Fn(&Value) -> bool,
    ) -> Result<ValueId, NetworkError> {
        let value = self.single(node, input)?;
        let input = before_dropout(self.graph, input);
        let joins = matches!(self.graph.node(input).operation, Operation::Concat { .. });
        let own = self.readers[input.0] == 1 && self.imported != Some(value) && !joins;
        if own && free(&self.program.values[value]) {
            return Ok(value);
        }
        let copy = self.value(input);
        self.step(node, Action::Materialise, vec![value], Some(copy));
        Ok(copy)
    }

    fn node(&mut self, id: NodeId) -> Result<View, NetworkError> {
        let graph = self.graph;
        match &graph.node(id).operation {
            Operation::Input { .. } => Ok(View::Plain),
            Operation::Convolution { input, weight, bias, kernel, stride, .. } => {
                let convolution = Convolution {
                    weight: *weight,
                    bias: *bias,
                    cancelled_bias: None,
                    kernel: *kernel,
                    stride: *stride,
                };
                let few = graph.input_channels() <= FEW_CHANNELS;
                if few && matches!(self.views[input.0], View::Plain) {
                    return Ok(self.produce(id, Action::FirstLayer(convolution), Vec::new()));
                }
                let sources = self.sources(id, *input)?;
                if let Some(index) = graph.outputs().iter().position(|o| *o == id) {
                    if sources.len() != 1 || *kernel != [1; 3] || *stride != [1; 3] || self.readers[id.0] != 1
                    {
                        return Err(
                            self.unsupported(id, "an output that is not a 1x1x1 convolution of one value")
                        );
                    }
                    let head = Action::Head { weight: *weight, bias: *bias, index };
                    self.step(id, head, sources, None);
                    return Ok(View::Output);
                }
                Ok(self.produce(id, Action::Convolution(convolution), sources))
            }
            Operation::TransposedConvolution { input, weight, bias, stride, .. } => {
                let source = self.single(id, *input)?;
                let (weight, bias, stride) = (*weight, *bias, *stride);
                let action = Action::Transposed { weight, bias, cancelled_bias: None, stride };
                Ok(self.produce(id, action, vec![source]))
            }
            Operation::InstanceNorm { input, affine, epsilon } => {
                let (affine, epsilon) = (*affine, *epsilon);
                let norm = Norm { over: NormOver::Voxels, affine, epsilon, running: None };
                let value = self.normalise(id, *input, norm)?;
                self.cancel_bias(value);
                Ok(View::Values(vec![value]))
            }
            Operation::BatchNorm { input, affine, epsilon, running } => {
                let (affine, epsilon, running) = (*affine, *epsilon, *running);
                let norm = Norm { over: NormOver::Batch, affine, epsilon, running };
                let value = self.normalise(id, *input, norm)?;
                self.cancel_bias(value);
                Ok(View::Values(vec![value]))
            }
            Operation::GroupNorm { input, groups, affine, epsilon } => {
                let (affine, epsilon) = (*affine, *epsilon);
                let norm = Norm { over: NormOver::Groups(*groups), affine, epsilon, running: None };
                Ok(View::Values(vec![self.normalise(id, *input, norm)?]))
            }
            Operation::Gelu { input } => {
                let source = self.single(id, *input)?;
                Ok(self.produce(id, Action::Gelu, vec![source]))
            }
            Operation::Dropout { input, .. } => Ok(self.views[input.0].clone()),
            Operation::LeakyRelu { input, slope } => {
                let slope = *slope as f32;
                let value = self.attachable(id, *input, |v| v.negative_slope == 1.0)?;
                let writer = self.program.steps.iter_mut().find(|s| s.output == Some(value));
                match writer.map(|s| &mut s.action) {
                    // A sum is written activated: one reading fewer for each of its readers.
                    Some(Action::Add { negative_slope })
                        if *negative_slope == 1.0 && self.program.values[value].norm.is_none() =>
                    {
                        *negative_slope = slope;
                    }
                    _ => self.program.values[value].negative_slope = slope,
                }
                Ok(View::Values(vec![value]))
            }
            Operation::Concat { inputs } => {
                let mut all = Vec::new();
                for input in inputs {
                    all.extend(self.sources(id, *input)?);
                }
                if all.iter().enumerate().any(|(i, v)| all[..i].contains(v)) {
                    return Err(self.unsupported(id, "concatenating a value with itself"));
                }
                Ok(View::Values(all))
            }
            Operation::Add { inputs: [a, b] } => {
                let sources = vec![self.single(id, *a)?, self.single(id, *b)?];
                if sources[0] == sources[1] {
                    return Err(self.unsupported(id, "adding a value to itself"));
                }
                Ok(self.produce(id, Action::Add { negative_slope: 1.0 }, sources))
            }
            Operation::AveragePool { input, kernel } => {
                let source = self.single(id, *input)?;
                Ok(self.produce(id, Action::AveragePool { kernel: *kernel }, vec![source]))
            }
        }
    }

    /// The value that `norm` is attached to.
    fn normalise(&mut self, node: NodeId, input: NodeId, norm: Norm) -> Result<ValueId, NetworkError> {
        let value = self.attachable(node, input, |v| v.norm.is_none() && v.negative_slope == 1.0)?;
        self.program.values[value].norm = Some(norm);
        Ok(value)
    }

    /// Takes the bias out of the convolution that writes `value`, which now has a norm that cancels it. A bias that
    /// is part of a running mean stays, without a gradient.
    fn cancel_bias(&mut self, value: ValueId) {
        let stays = self.program.values[value].norm.is_some_and(|norm| norm.running.is_some());
        let writer = self.program.steps.iter_mut().find(|s| s.output == Some(value));
        let (bias, cancelled) = match writer.map(|s| &mut s.action) {
            Some(Action::Convolution(c) | Action::FirstLayer(c)) => (&mut c.bias, &mut c.cancelled_bias),
            Some(Action::Transposed { bias, cancelled_bias, .. }) => (bias, cancelled_bias),
            _ => return,
        };
        *cancelled = *bias;
        if !stays {
            *bias = None;
        }
    }
}

impl Program {
    /// Marks the steps that the full-resolution output depends on.
    fn mark_inference(&mut self) {
        let mut needed = vec![false; self.values.len()];
        for step in self.steps.iter_mut().rev() {
            step.inference = match step.action {
                Action::Head { index, .. } => index == 0,
                _ => step.output.is_some_and(|v| needed[v]),
            };
            if step.inference {
                step.sources.iter().for_each(|&v| needed[v] = true);
            }
        }
    }
}
