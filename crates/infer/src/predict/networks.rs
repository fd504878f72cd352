//! The networks whose logits are averaged.

use nnunet_graph::NetworkError;
use nnunet_graph::backend::InferenceSession;

/// The networks whose logits are averaged, of which one at a time is ready to run.
pub trait Networks {
    /// How many there are.
    fn count(&self) -> usize;

    /// Makes network `number` ready.
    ///
    /// # Errors
    /// When its weights are not those of the network, or the device fails.
    fn select(&mut self, number: usize) -> Result<&mut dyn InferenceSession, NetworkError>;
}

/// One network alone.
pub struct Single<'a>(pub &'a mut dyn InferenceSession);

impl Networks for Single<'_> {
    fn count(&self) -> usize {
        1
    }

    fn select(&mut self, _number: usize) -> Result<&mut dyn InferenceSession, NetworkError> {
        Ok(self.0)
    }
}
