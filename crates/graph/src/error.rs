//! What can go wrong between an architecture's description and its execution.

use std::fmt;

use nnunet_base::parts::{OptionError, UnknownName};

/// Errors of graphs, architectures, parameters, backends and optimisers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// The plans name an architecture that is not registered.
    #[error("{0}. Check network_class_name in plans.json")]
    UnknownArchitecture(UnknownName),
    /// Arguments of an architecture that reads them as [`Options`](nnunet_base::parts::Options).
    #[error(transparent)]
    Arguments(#[from] OptionError),
    /// A key of `arch_kwargs` that the architecture does not have.
    #[error("{class}: unknown entry \"{key}\" in arch_kwargs; known: {known}")]
    UnknownKwarg {
        /// The architecture.
        class: &'static str,
        /// The key as found.
        key: String,
        /// All keys of the architecture.
        known: String,
    },
    /// An entry of `arch_kwargs` is missing, has the wrong type or a value that cannot be built.
    #[error("{class}: arch_kwargs entry \"{key}\" is {found}, expected {expected}")]
    BadKwarg {
        /// The architecture.
        class: &'static str,
        /// The key.
        key: String,
        /// The value as found, as JSON, or "missing".
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// Two values that meet in a node do not fit.
    #[error("node \"{node}\": {found}; expected {expected}. {hint}")]
    Shape {
        /// The node's name.
        node: String,
        /// The shapes found.
        found: String,
        /// What was expected.
        expected: String,
        /// What to do.
        hint: &'static str,
    },
    /// A batch that the graph cannot take.
    #[error("network input has shape {found:?} (n, c, z, y, x); expected {expected}")]
    Input {
        /// Shape as given.
        found: [usize; 5],
        /// What the graph expects.
        expected: String,
    },
    /// A graph that a backend cannot run.
    #[error(
        "node \"{node}\": {what} is not supported by the CPU executor; build the network from one of the known architectures"
    )]
    Unsupported {
        /// The node's name.
        node: String,
        /// What is not supported.
        what: String,
    },
    /// A network that can be run but not trained.
    #[error(
        "node \"{node}\": {found} cannot be trained in this version; {hint}. Prediction with such a network works"
    )]
    NotTrainable {
        /// The node's name.
        node: String,
        /// What stands in the way.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// Parameters and graph do not belong together.
    #[error(
        "parameter \"{name}\": {found}; expected {expected}. Weights and plans belong to different networks"
    )]
    Parameter {
        /// The parameter's name.
        name: String,
        /// What was found.
        found: String,
        /// What the graph expects.
        expected: String,
    },
    /// Tensors of a checkpoint do not fit the network; all of them are listed.
    #[error(
        "{} tensors do not fit the network:\n{}\nWeights and plans belong to different networks",
        .0.len(), list(.0)
    )]
    Weights(Vec<TensorMismatch>),
    /// `backward` without a `forward` before it, or with gradients of other shapes than its outputs.
    #[error("backward pass: {found}; expected {expected}")]
    Backward {
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// An optimiser state that does not fit the parameters.
    #[error("optimiser state of parameter {index}: {found}; expected {expected}")]
    OptimiserState {
        /// Index of the parameter in the network's order.
        index: usize,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A kernel refused a shape.
    #[error("node \"{node}\": {message}")]
    Kernel {
        /// The node's name.
        node: String,
        /// The kernel's message.
        message: String,
    },
    /// A device failed.
    #[error("node \"{node}\": the device failed: {message}")]
    Device {
        /// The node's name, or what was done.
        node: String,
        /// The device's message.
        message: String,
        /// Whether its memory was too small, or may have been.
        memory: bool,
    },
    /// The buffers of this batch do not fit into memory.
    #[error(
        "{bytes} bytes for the activations of a batch of shape {shape:?} (n, c, z, y, x) cannot be allocated; use a smaller patch or batch"
    )]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// Shape of the batch.
        shape: [usize; 5],
    },
}

/// A tensor that the network and a checkpoint do not both have in the same shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMismatch {
    /// Its name.
    pub name: String,
    /// Its shape in the checkpoint, `None` if it is not there.
    pub in_checkpoint: Option<Vec<usize>>,
    /// Its shape in the network, `None` if it is not there.
    pub in_network: Option<Vec<usize>>,
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |shape: &Option<Vec<usize>>| match shape {
            Some(shape) => format!("{shape:?}"),
            None => "missing".to_owned(),
        };
        let (checkpoint, network) = (shown(&self.in_checkpoint), shown(&self.in_network));
        write!(f, "  {}: {checkpoint} in the checkpoint, {network} in the network", self.name)
    }
}

fn list(mismatches: &[TensorMismatch]) -> String {
    mismatches.iter().map(TensorMismatch::to_string).collect::<Vec<_>>().join("\n")
}
