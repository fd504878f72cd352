//! What runs networks: the seam between the pipeline and the devices.
//!
//! A [`Backend`] makes sessions from a [`Graph`] and its parameters. Sessions own the weights where they run: an
//! [`InferenceSession`] runs tiles; a [`TrainingSession`] takes whole steps (forward, loss, backward, clipping,
//! optimiser), so that neither logits nor weights cross the seam in a step. Losses and optimisers are described by data
//! ([`LossSpec`], [`OptimiserSpec`]) that each backend interprets. A [`Snapshot`] takes the state out and back in.
//!
//! The pipeline knows these traits only; which backend it gets is decided in one place, by the program.

use crate::error::NetworkError;
use crate::graph::Graph;
use crate::loss::{LossError, LossSpec, OverlapCounts, Targets};
use crate::optimiser::{OptimiserSpec, OptimiserState, Rates};
use crate::parameters::Parameters;
use crate::tensor::Tensor;

/// A device with what is needed to run networks on it.
pub trait Backend: std::fmt::Debug + Send + Sync {
    /// Its name, as a user chooses it, e.g. `cpu`.
    fn name(&self) -> &str;

    /// Threads of the host that it keeps busy.
    fn host_threads(&self) -> usize;

    /// Threads that make batches beside a training on it, where nobody says how many.
    fn loader_threads(&self) -> usize {
        self.host_threads() / 2
    }

    /// What decides how it computes, as (key, value), for the record of a run.
    fn describe(&self) -> Vec<(&'static str, String)>;

    /// A session that runs `graph` with `parameters`, which have to be those of the graph.
    ///
    /// # Errors
    /// Parameters of another graph; an operation that the backend does not have.
    fn inference(
        &self,
        graph: &Graph,
        parameters: Parameters,
    ) -> Result<Box<dyn InferenceSession>, NetworkError>;

    /// A session that trains `graph` from `parameters` as `step` says.
    ///
    /// # Errors
    /// Parameters of another graph; an operation, a loss or an optimiser that the backend does not have.
    fn training(
        &self,
        graph: &Graph,
        parameters: Parameters,
        step: &StepSpec,
    ) -> Result<Box<dyn TrainingSession>, NetworkError>;
}

/// Runs a network for inference.
pub trait InferenceSession: Send {
    /// Writes the logits at full resolution, (n, classes, z, y, x), for `input` (n, channels, z, y, x) into `output`,
    /// whose memory is used again. Deep-supervision heads are not computed.
    ///
    /// # Errors
    /// An input that the network does not take; no memory for it.
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError>;

    /// Puts `parameters` into the session and returns those it had, as when the folds of a model take turns.
    ///
    /// # Errors
    /// Parameters of another graph; the session keeps its own then.
    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError>;

    /// Drops everything but the weights, as if the session had just been made. A session in which a pass panicked must
    /// be renewed before the next pass: it may lack the memory that was in use.
    ///
    /// # Errors
    /// When the device fails.
    fn renew(&mut self) -> Result<(), NetworkError>;

    /// Memory that inputs of shape `input` (n, c, z, y, x) take.
    ///
    /// # Errors
    /// A shape that the network does not take.
    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError>;
}

/// Trains a network, step by step.
pub trait TrainingSession: Send {
    /// Learns from one batch: forward, loss, backward, clipping, optimiser. Batch norms take the batch's statistics
    /// and move their running ones.
    ///
    /// # Errors
    /// See [`StepError`]; the parameters are as before then.
    fn step(&mut self, batch: BatchRef<'_>, rates: Rates<'_>) -> Result<StepReport, StepError>;

    /// The same step, with `adjust` called between the backward pass and the clipping: it sees the parameters with their
    /// gradients and may change the gradients, as the penalties of federated and continual learning do. On a device it
    /// costs the way of the gradients to the host and back.
    ///
    /// # Errors
    /// See [`StepError`]; the parameters are as before then, unless `adjust` changed them.
    fn step_with(
        &mut self,
        batch: BatchRef<'_>,
        rates: Rates<'_>,
        adjust: &mut dyn FnMut(&mut Parameters),
    ) -> Result<StepReport, StepError>;

    /// Shows `visit` the parameters with the gradients of the last step, clipped. Values and buffers that it changes are
    /// those of the next step.
    ///
    /// # Errors
    /// When they cannot be fetched from the device or put back.
    fn visit_parameters(&mut self, visit: &mut dyn FnMut(&mut Parameters)) -> Result<(), NetworkError>;

    /// Evaluates one batch without learning: batch norms take their running statistics, nothing is moved.
    ///
    /// # Errors
    /// See [`StepError`].
    fn evaluate(&mut self, batch: BatchRef<'_>) -> Result<EvaluationReport, StepError>;

    /// The state of the session.
    ///
    /// # Errors
    /// When it cannot be fetched from the device.
    fn export(&self) -> Result<Snapshot, NetworkError>;

    /// Replaces the state of the session.
    ///
    /// # Errors
    /// A state of another graph or optimiser; the session is as before then.
    fn import(&mut self, state: Snapshot) -> Result<(), NetworkError>;

    /// What the loss is multiplied by, where small gradients would vanish in narrow numbers otherwise.
    fn gradient_scale(&self) -> Option<GradientScale> {
        None
    }

    /// Goes on with such a scale. Sessions that scale nothing ignore it.
    fn set_gradient_scale(&mut self, _scale: GradientScale) {}

    /// The network with its present weights, to predict whole images between or after steps.
    fn inference(&mut self) -> &mut dyn InferenceSession;

    /// Memory of a step on batches of shape `input` (n, c, z, y, x).
    ///
    /// # Errors
    /// A shape that the network does not take.
    fn memory(&self, input: [usize; 5]) -> Result<TrainingMemory, NetworkError>;
}

/// The state of PyTorch's `GradScaler`: the factor of the loss, and the steps without overflow since it last changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientScale {
    /// The factor.
    pub scale: f64,
    /// Steps since it last changed.
    pub good_steps: u32,
}

/// Everything about a step but the weights and the batch.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// The loss to minimise.
    pub loss: LossSpec,
    /// What changes the parameters along their gradients.
    pub optimiser: OptimiserSpec,
    /// Largest Euclidean norm of all gradients together; larger ones are scaled down to it.
    pub gradient_norm_limit: f64,
}

/// A batch as a session sees it.
#[derive(Debug, Clone, Copy)]
pub struct BatchRef<'a> {
    /// Input of the network (n, channel, z, y, x).
    pub image: &'a Tensor,
    /// Targets of each output, full resolution first.
    pub targets: &'a Targets,
}

/// The value of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The loss before the step.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// The value of an evaluated batch.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationReport {
    /// The loss.
    pub loss: f64,
    /// Counts for the pseudo-Dice of each foreground class or region.
    pub overlap: Vec<OverlapCounts>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The network could not run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Logits and targets do not fit.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The loss, or the norm of its gradient, is infinite or not a number.
    #[error("the {what} became {value}")]
    NotFinite {
        /// `loss` or `norm of the gradient`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

/// The state of a training as plain data: what checkpoints hold, what a resumed run starts from, what sites of a
/// federation exchange.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Parameters and buffers by PyTorch's names, without gradients.
    pub parameters: Parameters,
    /// State of the optimiser; `None` leaves the optimiser of a session that imports this as it is.
    pub optimiser: Option<OptimiserState>,
}

/// Bytes of the host's memory that a session needs for a shape of input. On a device with memory of its own that is what crosses
/// the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Activations and, for training, their gradients.
    pub activations: usize,
    /// Parameters with their packed copies and, for training, their gradients.
    pub weights: usize,
    /// Input and outputs of the network in plain layout, and for training the gradient of one output in the layout of
    /// the activations.
    pub border: usize,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> usize {
        self.activations + self.weights + self.border
    }
}

/// Bytes that a training session needs for a shape of batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// What forward and backward pass need.
    pub step: MemoryEstimate,
    /// State of the optimiser.
    pub optimiser: usize,
    /// How much more a step would need without recomputation; 0 where nothing is computed again.
    pub saved_by_recomputation: usize,
}

impl TrainingMemory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.step.total() + self.optimiser
    }
}
