//! The passes over a network, as the sessions and the tests call them.

use nnunet_graph::error::NetworkError;
use nnunet_graph::tensor::Tensor;

use super::CpuExecutor;
use super::binding::Purpose;
use super::forward::Mode;

impl CpuExecutor {
    /// Logits at full resolution, (n, classes, z, y, x), for `input` (n, channels, z, y, x).
    /// Deep-supervision heads are not computed.
    ///
    /// # Errors
    /// An input that the network does not take; no memory for it.
    pub fn run(&mut self, input: &Tensor) -> Result<Tensor, NetworkError> {
        let mut output = Tensor::zeros([0; 5]);
        self.run_into(input, &mut output)?;
        Ok(output)
    }

    /// As [`CpuExecutor::run`], into a tensor whose memory is used again.
    ///
    /// # Errors
    /// As of `run`.
    pub fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
        check_input(input)?;
        self.forward_done = false;
        let binding = self.bind(input.shape, Purpose::Inference)?;
        self.reserve(&binding)?;
        output.reshape(binding.outputs[0]);
        let result = self.forward_steps(&binding, &input.data, &mut [output], Mode::Evaluate);
        self.inference = Some(binding);
        result
    }

    /// Logits of every deep-supervision head, full resolution first. Batch norms take the batch's statistics and move
    /// their running ones.
    ///
    /// # Errors
    /// An input that the network does not take; no memory for it.
    pub fn forward(&mut self, input: &Tensor) -> Result<Vec<Tensor>, NetworkError> {
        let mut outputs = Vec::new();
        self.forward_into(input, &mut outputs)?;
        Ok(outputs)
    }

    /// As [`CpuExecutor::forward`], into tensors whose memory is used again.
    ///
    /// # Errors
    /// As of `forward`.
    pub fn forward_into(&mut self, input: &Tensor, outputs: &mut Vec<Tensor>) -> Result<(), NetworkError> {
        self.all_heads(input, outputs, Mode::Train)
    }

    /// As [`CpuExecutor::forward_into`], but as in inference: batch norms take their running statistics, and nothing is
    /// moved or kept for a backward pass.
    ///
    /// # Errors
    /// As of `forward`.
    pub fn evaluate_into(&mut self, input: &Tensor, outputs: &mut Vec<Tensor>) -> Result<(), NetworkError> {
        self.all_heads(input, outputs, Mode::Evaluate)
    }

    /// Gradients of the loss with respect to the outputs of the last [`CpuExecutor::forward`], in the
    /// same order; `None` for a head whose loss weight is zero. Leaves the parameter gradients in
    /// the executor's parameters, overwriting those of the step before; parameters that no gradient
    /// reaches have none. Can be called once for each forward pass, and not after a
    /// [`CpuExecutor::run`] in between.
    ///
    /// # Errors
    /// Without a forward pass before it; gradients of other shapes than the outputs.
    pub fn backward(&mut self, gradients: &[Option<Tensor>]) -> Result<(), NetworkError> {
        let fault =
            |found: String, expected: &str| NetworkError::Backward { found, expected: expected.into() };
        let Some(binding) = self.training.take().filter(|_| self.forward_done) else {
            return Err(fault("no forward pass before it".into(), "`forward`, then `backward`, once"));
        };
        let fits = gradients.len() == binding.outputs.len()
            && gradients.iter().zip(&binding.outputs).all(|(g, shape)| {
                g.as_ref()
                    .is_none_or(|g| g.shape == *shape && g.data.len() == shape.iter().product::<usize>())
            });
        let result = if fits {
            self.forward_done = false;
            self.backward_steps(&binding, gradients)
        } else {
            let shapes: Vec<_> = gradients.iter().map(|g| g.as_ref().map(|g| g.shape)).collect();
            Err(fault(format!("gradients of shapes {shapes:?}"), &format!("shapes {:?}", binding.outputs)))
        };
        self.training = Some(binding);
        result
    }

    /// All outputs for `input`, as in training or as in inference.
    fn all_heads(
        &mut self,
        input: &Tensor,
        outputs: &mut Vec<Tensor>,
        mode: Mode,
    ) -> Result<(), NetworkError> {
        check_input(input)?;
        self.forward_done = false;
        let binding = self.bind(input.shape, self.training_purpose)?;
        self.reserve(&binding)?;
        self.batch.clear();
        self.batch.extend_from_slice(&input.data);
        outputs.resize_with(binding.outputs.len(), || Tensor::zeros([0; 5]));
        for (output, &shape) in outputs.iter_mut().zip(&binding.outputs) {
            output.reshape(shape);
        }
        let mut targets: Vec<&mut Tensor> = outputs.iter_mut().collect();
        let result = self.forward_steps(&binding, &input.data, &mut targets, mode);
        self.training = Some(binding);
        self.forward_done = result.is_ok() && mode == Mode::Train;
        result
    }
}

fn check_input(input: &Tensor) -> Result<(), NetworkError> {
    if input.shape.iter().try_fold(1usize, |p, &s| p.checked_mul(s)) == Some(input.data.len()) {
        return Ok(());
    }
    let expected = format!("as many elements as given, {}", input.data.len());
    Err(NetworkError::Input { found: input.shape, expected })
}
