//! A network as data: nodes over named parameters.
//!
//! An architecture builds a [`Graph`]; backends interpret it. Kernel sizes and strides are (z, y, x);
//! two-dimensional networks use kernel 1 and stride 1 along z. Parameter shapes are PyTorch's: a
//! convolution's weight is `(out, in, [z,] y, x)`, a transposed convolution's `(in, out, [z,] y, x)`.

/// Index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::parameters`], which is also PyTorch's index in
/// `network.parameters()` and so in an optimiser's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// Index of a buffer in [`Graph::buffers`]: a tensor of the state dict that no optimiser changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// Running statistics of a batch norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunningStatistics {
    /// Running mean (channels).
    pub mean: BufferId,
    /// Running unbiased variance (channels).
    pub variance: BufferId,
    /// Number of batches that went into them (one element).
    pub batches: BufferId,
    /// Share of a new batch; `None` is the mean over all batches.
    pub momentum: Option<f64>,
}

/// One operation and its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The batch given to the network.
    Input {
        /// Channels of the batch.
        channels: usize,
    },
    /// Convolution with symmetric zero padding (kernel - 1) / 2.
    Convolution {
        /// What is convolved.
        input: NodeId,
        /// (out, in, z, y, x).
        weight: ParameterId,
        /// (out).
        bias: Option<ParameterId>,
        /// Channels of the result.
        output_channels: usize,
        /// Kernel size (z, y, x).
        kernel: [usize; 3],
        /// Stride (z, y, x).
        stride: [usize; 3],
    },
    /// Transposed convolution whose kernel equals its stride: every input voxel becomes a block.
    TransposedConvolution {
        /// What is upsampled.
        input: NodeId,
        /// (in, out, z, y, x).
        weight: ParameterId,
        /// (out).
        bias: Option<ParameterId>,
        /// Channels of the result.
        output_channels: usize,
        /// Kernel size and stride (z, y, x).
        stride: [usize; 3],
    },
    /// Normalisation of each channel of each sample over its voxels, with the biased variance.
    InstanceNorm {
        /// What is normalised.
        input: NodeId,
        /// Weight and bias, each (channels); `None` without affine parameters.
        affine: Option<(ParameterId, ParameterId)>,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Normalisation of each channel over the voxels of all samples, with the biased variance. Outside of training
    /// with the running statistics, if there are any.
    BatchNorm {
        /// What is normalised.
        input: NodeId,
        /// Weight and bias, each (channels); `None` without affine parameters.
        affine: Option<(ParameterId, ParameterId)>,
        /// Added to the variance.
        epsilon: f64,
        /// Moved by every training pass.
        running: Option<RunningStatistics>,
    },
    /// Normalisation of each group of consecutive channels of each sample, with the biased variance.
    GroupNorm {
        /// What is normalised.
        input: NodeId,
        /// Number of groups; divides the channels.
        groups: usize,
        /// Weight and bias, each (channels); `None` without affine parameters.
        affine: Option<(ParameterId, ParameterId)>,
        /// Added to the variance.
        epsilon: f64,
    },
    /// x * (1 + erf(x / sqrt 2)) / 2.
    Gelu {
        /// What is activated.
        input: NodeId,
    },
    /// Zeros at random while training, scaled so that the mean stays; changes nothing otherwise.
    Dropout {
        /// What is thinned out.
        input: NodeId,
        /// Share of zeros.
        probability: f64,
    },
    /// max(x, 0) + slope * min(x, 0). Slope 0 is the ReLU.
    LeakyRelu {
        /// What is activated.
        input: NodeId,
        /// Slope of the negative side.
        slope: f64,
    },
    /// Channels of the inputs one after the other.
    Concat {
        /// At least one input; equal batch and spatial sizes.
        inputs: Vec<NodeId>,
    },
    /// Sum of two values of equal shape.
    Add {
        /// The two terms.
        inputs: [NodeId; 2],
    },
    /// Mean over blocks; stride equals the block size, incomplete blocks are dropped.
    AveragePool {
        /// What is pooled.
        input: NodeId,
        /// Block size (z, y, x).
        kernel: [usize; 3],
    },
}

/// A named node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// For messages: the module's path in PyTorch's naming.
    pub name: String,
    /// What it does.
    pub operation: Operation,
}

impl Node {
    /// Inputs in order.
    pub fn inputs(&self) -> &[NodeId] {
        match &self.operation {
            Operation::Input { .. } => &[],
            Operation::Convolution { input, .. }
            | Operation::TransposedConvolution { input, .. }
            | Operation::InstanceNorm { input, .. }
            | Operation::BatchNorm { input, .. }
            | Operation::GroupNorm { input, .. }
            | Operation::Gelu { input }
            | Operation::Dropout { input, .. }
            | Operation::LeakyRelu { input, .. }
            | Operation::AveragePool { input, .. } => std::slice::from_ref(input),
            Operation::Concat { inputs } => inputs,
            Operation::Add { inputs } => inputs,
        }
    }
}

/// How a fresh parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InitialValue {
    /// One value everywhere.
    Constant(f32),
    /// He et al. 2015: normal with standard deviation sqrt(2 / (1 + slope^2)) / sqrt(fan_in).
    HeNormal {
        /// Elements of one slice along the first axis, as PyTorch counts them.
        fan_in: usize,
        /// Slope of the leaky ReLU that follows.
        slope: f64,
    },
}

/// A parameter that the graph needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSpec {
    /// PyTorch's name in the state dict, without aliases.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub initial: InitialValue,
}

/// A buffer that the graph needs.
#[derive(Debug, Clone, PartialEq)]
pub struct BufferSpec {
    /// PyTorch's name in the state dict, without aliases.
    pub name: String,
    /// PyTorch's shape; empty for a single number.
    pub shape: Vec<usize>,
    /// What it starts with everywhere.
    pub initial: f32,
}

/// What an entry of the state dict holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// A parameter.
    Parameter(ParameterId),
    /// A buffer.
    Buffer(BufferId),
}

/// One entry of PyTorch's state dict. A tensor occurs under several names there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// The key in the state dict.
    pub name: String,
    /// What it holds.
    pub stored: Stored,
}

/// A network: nodes in an order in which they can be computed, outputs, parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<NodeId>,
    parameters: Vec<ParameterSpec>,
    buffers: Vec<BufferSpec>,
    state_entries: Vec<StateEntry>,
    heads: Vec<String>,
    spatial_dimensions: usize,
}

impl Graph {
    /// Nodes; every node stands after its inputs, the first is the input.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Outputs, full resolution first; more than one with deep supervision.
    pub fn outputs(&self) -> &[NodeId] {
        &self.outputs
    }

    /// Parameters in the order of PyTorch's `network.parameters()`.
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// The parameter `id`.
    pub fn parameter(&self, id: ParameterId) -> &ParameterSpec {
        &self.parameters[id.0]
    }

    /// Buffers in the order in which they were declared.
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.buffers
    }

    /// The buffer `id`.
    pub fn buffer(&self, id: BufferId) -> &BufferSpec {
        &self.buffers[id.0]
    }

    /// Canonical names and shapes of all tensors: parameters, then buffers.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let learned = self.parameters.iter().map(|spec| (spec.name.as_str(), &spec.shape[..]));
        learned.chain(self.buffers.iter().map(|spec| (spec.name.as_str(), &spec.shape[..])))
    }

    /// Canonical name and shape of what an entry of the state dict holds.
    pub fn stored(&self, stored: Stored) -> (&str, &[usize]) {
        match stored {
            Stored::Parameter(id) => (&self.parameter(id).name, &self.parameter(id).shape),
            Stored::Buffer(id) => (&self.buffer(id).name, &self.buffer(id).shape),
        }
    }

    /// Every key of PyTorch's state dict in its order, aliases included.
    pub fn state_entries(&self) -> &[StateEntry] {
        &self.state_entries
    }

    /// (key, canonical name) of every entry of PyTorch's state dict, in its order.
    pub fn state_dict_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.state_entries.iter().map(|e| (e.name.as_str(), self.stored(e.stored).0))
    }

    /// Whether the tensor `name` (canonical) belongs to a segmentation head: its channels are the classes of one dataset, so
    /// that fine-tuning on another starts it anew.
    pub fn is_head(&self, name: &str) -> bool {
        self.heads.iter().any(|head| name.starts_with(head))
    }

    /// 2 or 3.
    pub fn spatial_dimensions(&self) -> usize {
        self.spatial_dimensions
    }

    /// Channels of the input.
    pub fn input_channels(&self) -> usize {
        match self.nodes[0].operation {
            Operation::Input { channels } => channels,
            _ => 0,
        }
    }

    /// Number of parameter elements.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }
}

/// Collects nodes and parameters while an architecture is built.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
}

impl GraphBuilder {
    /// A graph with its input node only. `spatial_dimensions` is 2 or 3.
    pub fn new(input_channels: usize, spatial_dimensions: usize) -> Self {
        let input = Node { name: "input".into(), operation: Operation::Input { channels: input_channels } };
        Self {
            graph: Graph {
                nodes: vec![input],
                outputs: Vec::new(),
                parameters: Vec::new(),
                buffers: Vec::new(),
                state_entries: Vec::new(),
                heads: Vec::new(),
                spatial_dimensions,
            },
        }
    }

    /// The input node.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Adds a node. Its inputs must exist already, which [`NodeId`]s of this builder always do.
    pub fn push(&mut self, name: impl Into<String>, operation: Operation) -> NodeId {
        self.graph.nodes.push(Node { name: name.into(), operation });
        NodeId(self.graph.nodes.len() - 1)
    }

    /// Adds a parameter under its canonical name.
    pub fn parameter(&mut self, name: String, shape: Vec<usize>, initial: InitialValue) -> ParameterId {
        self.graph.parameters.push(ParameterSpec { name, shape, initial });
        ParameterId(self.graph.parameters.len() - 1)
    }

    /// Adds a buffer under its canonical name.
    pub fn buffer(&mut self, name: String, shape: Vec<usize>, initial: f32) -> BufferId {
        self.graph.buffers.push(BufferSpec { name, shape, initial });
        BufferId(self.graph.buffers.len() - 1)
    }

    /// Adds an entry of the state dict. Entries are kept in the order of the calls.
    pub fn state_entry(&mut self, name: String, stored: Stored) {
        self.graph.state_entries.push(StateEntry { name, stored });
    }

    /// Repeats all entries so far under `prefix`: a module that is registered in a second place.
    pub fn repeat_state_entries(&mut self, prefix: &str) {
        let copies: Vec<StateEntry> = self
            .graph
            .state_entries
            .iter()
            .map(|e| StateEntry { name: format!("{prefix}{}", e.name), stored: e.stored })
            .collect();
        self.graph.state_entries.extend(copies);
    }

    /// Marks all tensors whose canonical names begin with `prefix` as those of segmentation heads.
    pub fn heads(&mut self, prefix: impl Into<String>) {
        self.graph.heads.push(prefix.into());
    }

    /// Shape of a kernel as PyTorch stores it: two axes for two-dimensional networks.
    pub fn kernel_shape(&self, kernel: [usize; 3]) -> Vec<usize> {
        kernel[3 - self.graph.spatial_dimensions..].to_vec()
    }

    /// The finished graph with `outputs`, full resolution first.
    pub fn finish(mut self, outputs: Vec<NodeId>) -> Graph {
        self.graph.outputs = outputs;
        self.graph
    }
}
