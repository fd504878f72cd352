//! Sessions that predict.

use std::sync::Arc;

use nnunet_graph::backend::{InferenceSession, MemoryEstimate};
use nnunet_graph::{Graph, NetworkError, Parameters, Tensor, shapes};

use crate::error::during;
use crate::forward::Purpose;
use crate::memory;
use crate::network::Network;
use crate::runtime::Runtime;

/// A network that predicts.
pub(crate) struct TorchInference {
    network: Network,
    /// Samples that a pass takes at most, once the device's memory was too small for more; by voxels of a sample.
    most_samples: Option<(usize, usize)>,
}

impl TorchInference {
    pub(crate) fn new(
        graph: &Graph,
        parameters: &Parameters,
        runtime: Arc<Runtime>,
    ) -> Result<Self, NetworkError> {
        Ok(Self { network: Network::new(graph, parameters, runtime)?, most_samples: None })
    }
}

impl InferenceSession for TorchInference {
    fn run_into(&mut self, input: &Tensor, output: &mut Tensor) -> Result<(), NetworkError> {
        run_into(&mut self.network, &mut self.most_samples, input, output)
    }

    fn exchange_parameters(&mut self, parameters: Parameters) -> Result<Parameters, NetworkError> {
        exchange(&mut self.network, &parameters)
    }

    fn renew(&mut self) -> Result<(), NetworkError> {
        self.network.changed();
        Ok(())
    }

    fn memory(&self, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
        memory::inference(&self.network, input)
    }
}

/// Replaces the weights of a network and returns those it had.
pub(crate) fn exchange(network: &mut Network, parameters: &Parameters) -> Result<Parameters, NetworkError> {
    parameters.check(&network.graph)?;
    let old = network.take()?;
    network.put(parameters)?;
    Ok(old)
}

/// One pass at full resolution. Where the device's memory is too small for all samples at once, they are computed in smaller
/// batches, and so are later ones of their size.
pub(crate) fn run_into(
    network: &mut Network,
    most_samples: &mut Option<(usize, usize)>,
    input: &Tensor,
    output: &mut Tensor,
) -> Result<(), NetworkError> {
    let shapes = shapes::infer(&network.graph, input.shape)?;
    if input.data.len() != input.shape.iter().product::<usize>() {
        let expected = format!("as many elements as given, {}", input.data.len());
        return Err(NetworkError::Input { found: input.shape, expected });
    }
    let full = network.graph.outputs()[0];
    output.reshape(shapes[full.0]);
    network.runtime.enter();
    let (samples, each_in) = (input.shape[0], input.data.len() / input.shape[0].max(1));
    let each_out = output.data.len() / samples.max(1);
    let limit = most_samples.filter(|(_, size)| *size <= each_in).map_or(samples, |(most, _)| most);
    let (mut first, mut at_once) = (0, limit.clamp(1, samples.max(1)));
    while first < samples {
        let count = at_once.min(samples - first);
        let part = &input.data[first * each_in..(first + count) * each_in];
        let into = &mut output.data[first * each_out..(first + count) * each_out];
        let mut shape = input.shape;
        shape[0] = count;
        match pass(network, part, shape, into) {
            Ok(()) => first += count,
            Err(NetworkError::Device { memory: true, .. }) if count > 1 => {
                at_once = count.div_ceil(2);
                *most_samples = Some((at_once, each_in));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One pass of some samples.
fn pass(
    network: &mut Network,
    input: &[f32],
    shape: [usize; 5],
    output: &mut [f32],
) -> Result<(), NetworkError> {
    let image = network.upload_maps(input, shape)?;
    let outputs = [network.graph.outputs()[0]];
    let (logits, _) = network.forward(image, &outputs, Purpose::Evaluation)?;
    logits[0].download_into(output).map_err(during("output"))
}
