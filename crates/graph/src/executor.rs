//! What the pipeline asks of anything that runs a network. The CPU executor and, later, the
//! libtorch executor interpret the same graph behind these two traits.

use crate::parameters::Parameters;
use crate::tensor::Tensor;

/// Runs a network for inference.
pub trait Executor: Send {
    /// The error of this executor.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Logits at full resolution, (n, classes, z, y, x), for `input` (n, channels, z, y, x).
    /// Deep-supervision heads are not computed.
    fn run(&mut self, input: &Tensor) -> Result<Tensor, Self::Error>;

    /// As [`Executor::run`], into a tensor whose memory is used again.
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), Self::Error> {
        *output = self.run(input)?;
        Ok(())
    }
}

/// Runs a network for training: a forward pass that keeps what the backward pass needs.
pub trait Trainable: Executor {
    /// Logits of every deep-supervision head, full resolution first. Batch norms take the batch's statistics and move
    /// their running ones.
    fn forward(&mut self, input: &Tensor) -> Result<Vec<Tensor>, Self::Error>;

    /// As [`Trainable::forward`], into tensors whose memory is used again.
    fn forward_into(&mut self, input: &Tensor, outputs: &mut Vec<Tensor>) -> Result<(), Self::Error> {
        *outputs = self.forward(input)?;
        Ok(())
    }

    /// As [`Trainable::forward_into`], but as in inference: batch norms take their running statistics, and nothing is
    /// moved or kept for a backward pass.
    fn evaluate_into(&mut self, input: &Tensor, outputs: &mut Vec<Tensor>) -> Result<(), Self::Error>;

    /// Gradients of the loss with respect to the outputs of the last [`Trainable::forward`], in the
    /// same order; `None` for a head whose loss weight is zero. Leaves the parameter gradients in
    /// the executor's parameters, overwriting those of the step before; parameters that no gradient
    /// reaches have none. Can be called once for each forward pass, and not after a
    /// [`Executor::run`] in between.
    fn backward(&mut self, gradients: &[Option<Tensor>]) -> Result<(), Self::Error>;

    /// The parameters, with the gradients of the last backward pass.
    fn parameters(&self) -> &Parameters;

    /// The parameters, to be changed by an optimiser or a checkpoint; the next pass uses the new values.
    fn parameters_mut(&mut self) -> &mut Parameters;
}
