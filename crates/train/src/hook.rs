//! What a caller may do before, within and after a step of learning.

use nnunet_graph::Parameters;
use nnunet_graph::backend::{StepReport, TrainingSession};

use super::batch::Batch;

/// Any error of a hook; the training ends with it.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Looks at the steps of a training and takes part in them. Each method does nothing unless it is given.
pub trait StepHook: Send {
    /// Before the step: the batch, with the names of its cases, may be changed.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn before_step(&mut self, _at: StepAddress, _batch: &mut Batch) -> Result<(), HookError> {
        Ok(())
    }

    /// Whether the hook wants [`adjust_gradients`](Self::adjust_gradients) to be called, which costs a copy of all gradients
    /// where the network is not on the host.
    fn adjusts_gradients(&self) -> bool {
        false
    }

    /// Within the step, after the backward pass and before clipping: gradients may be changed.
    fn adjust_gradients(&mut self, _at: StepAddress, _batch: &Batch, _parameters: &mut Parameters) {}

    /// After the step.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn after_step(&mut self, _step: &mut FinishedStep<'_>) -> Result<(), HookError> {
        Ok(())
    }
}

/// Which step of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepAddress {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Iteration of the epoch, from 0.
    pub iteration: usize,
}

/// A step that was taken.
pub struct FinishedStep<'a> {
    /// Which one.
    pub at: StepAddress,
    /// What was learned from.
    pub batch: &'a Batch,
    /// Loss and norm of the gradient.
    pub report: StepReport,
    /// Holds the parameters and the gradients; see [`TrainingSession::visit_parameters`].
    pub session: &'a mut dyn TrainingSession,
}
