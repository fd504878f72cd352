//! One step of learning, and one of validation: forward, loss, backward, clipping, optimiser.

use nnunet_exec_cpu::CpuExecutor;
use nnunet_graph::optimiser::{Optimiser, clip_gradient_norm};
use nnunet_graph::{NetworkError, Tensor, Trainable};

use super::batch::Batch;
use super::loss::{Loss, LossError, OverlapCounts, Target, count_label_overlap, count_region_overlap};

/// What learns.
pub struct Engine {
    /// The network with its parameters.
    pub executor: CpuExecutor,
    /// Changes the parameters along their gradients.
    pub optimiser: Box<dyn Optimiser>,
    /// What is to become small.
    pub loss: Box<dyn Loss>,
    /// Largest norm of the gradient of all parameters together.
    pub gradient_norm_limit: f64,
    /// Label that does not count, for plain labels; for regions, whether there is such a label.
    pub ignore_label: Option<i16>,
    outputs: Vec<Tensor>,
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
    /// The loss is infinite or not a number.
    #[error(
        "the loss became {loss} on a batch of the cases {cases}; look for extreme intensities in these \
         images, or lower the learning rate"
    )]
    NotFinite {
        /// The value.
        loss: f64,
        /// The cases of the batch.
        cases: String,
    },
}

/// The value of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingStep {
    /// The loss before the step.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// The value of a validation step.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationStep {
    /// The loss.
    pub loss: f64,
    /// Counts for the pseudo-Dice of each foreground class or region.
    pub overlap: Vec<OverlapCounts>,
}

impl Engine {
    /// Puts the parts together.
    pub fn new(
        executor: CpuExecutor,
        optimiser: Box<dyn Optimiser>,
        loss: Box<dyn Loss>,
        gradient_norm_limit: f64,
        ignore_label: Option<i16>,
    ) -> Self {
        Self { executor, optimiser, loss, gradient_norm_limit, ignore_label, outputs: Vec::new() }
    }

    /// Learns from one batch.
    ///
    /// # Errors
    /// See [`StepError`]; the parameters are unchanged then.
    pub fn train(&mut self, batch: &Batch, learning_rate: f64) -> Result<TrainingStep, StepError> {
        self.executor.forward_into(&batch.image, &mut self.outputs)?;
        let (value, gradients) = self.loss.value_and_gradient(&self.outputs, &batch.targets)?;
        let loss = finite(value.total, batch)?;
        self.executor.backward(&gradients)?;
        let parameters = self.executor.parameters_mut();
        let gradient_norm = clip_gradient_norm(parameters, self.gradient_norm_limit);
        if !gradient_norm.is_finite() {
            return Err(StepError::NotFinite { loss: gradient_norm, cases: batch.cases.join(", ") });
        }
        self.optimiser.step(parameters, learning_rate);
        Ok(TrainingStep { loss, gradient_norm })
    }

    /// Evaluates one batch without learning.
    ///
    /// # Errors
    /// See [`StepError`].
    pub fn validate(&mut self, batch: &Batch) -> Result<ValidationStep, StepError> {
        self.executor.evaluate_into(&batch.image, &mut self.outputs)?;
        let loss = finite(self.loss.value(&self.outputs, &batch.targets)?.total, batch)?;
        let overlap = match (self.outputs.first(), batch.targets.scales.first()) {
            (Some(logits), Some(Target::Labels(labels))) => {
                count_label_overlap(logits, labels, self.ignore_label)?
            }
            (Some(logits), Some(Target::Regions(regions))) => {
                count_region_overlap(logits, regions, self.ignore_label.is_some())?
            }
            _ => Vec::new(),
        };
        Ok(ValidationStep { loss, overlap })
    }
}

fn finite(loss: f64, batch: &Batch) -> Result<f64, StepError> {
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(StepError::NotFinite { loss, cases: batch.cases.join(", ") })
    }
}
