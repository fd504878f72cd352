//! A network with other weights that sees the same batches: for distillation, mean teachers, learning without forgetting.

use nnunet_graph::backend::{Backend, InferenceSession};
use nnunet_graph::{Graph, Parameters, Tensor};

use super::batch::Batch;
use super::error::TrainError;

/// A network that only answers.
pub(super) struct Teacher {
    session: Box<dyn InferenceSession>,
    /// Memory of the last answer, which is used again.
    spare: Tensor,
}

impl Teacher {
    /// The network `graph` with `parameters`.
    ///
    /// # Errors
    /// Parameters of another network.
    pub(super) fn new(
        backend: &dyn Backend,
        graph: &Graph,
        parameters: Parameters,
    ) -> Result<Self, TrainError> {
        let session = backend.inference(graph, parameters)?;
        Ok(Self { session, spare: Tensor { shape: [0; 5], data: Vec::new() } })
    }

    /// Adds its logits to the targets of `batch`.
    ///
    /// # Errors
    /// When the network cannot run.
    pub(super) fn answer(&mut self, batch: &mut Batch) -> Result<(), TrainError> {
        let mut logits = std::mem::replace(&mut self.spare, Tensor { shape: [0; 5], data: Vec::new() });
        self.session.run_into(&batch.image, &mut logits)?;
        batch.targets.teacher = Some(logits);
        Ok(())
    }

    /// Takes the memory of its answer back from a batch that is done.
    pub(super) fn take_back(&mut self, batch: &mut Batch) {
        if let Some(logits) = batch.targets.teacher.take() {
            self.spare = logits;
        }
    }
}
