//! How much of the host's memory sessions take. On a device with memory of its own that is what crosses the border; on
//! libtorch's CPU it is also what its operations allocate, by the lifetimes of a pass.

use nnunet_graph::backend::MemoryEstimate;
use nnunet_graph::graph::Operation;
use nnunet_graph::{NetworkError, shapes};

use crate::network::Network;
use crate::runtime::Arithmetic;

/// For predictions.
pub(crate) fn inference(network: &Network, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
    let shapes = shapes::infer(&network.graph, input)?;
    let full = network.graph.outputs()[0];
    let border = (elements(input) + elements(shapes[full.0])) * size_of::<f32>();
    if !network.runtime.on_host() {
        return Ok(MemoryEstimate { activations: 0, weights: 0, border });
    }
    let mut last = vec![0; shapes.len()];
    for (index, node) in network.graph.nodes().iter().enumerate() {
        node.inputs().iter().for_each(|input| last[input.0] = index);
    }
    let (mut alive, mut most) = (elements(input), 0);
    for (index, node) in network.graph.nodes().iter().enumerate().skip(1) {
        alive += elements(shapes[index]);
        most = most.max(alive + workspace(&node.operation, &shapes, index));
        let read: std::collections::BTreeSet<usize> = node.inputs().iter().map(|input| input.0).collect();
        for input in read.into_iter().filter(|input| last[*input] == index) {
            alive -= elements(shapes[input]);
        }
    }
    let weights = network.graph.parameter_count() * size_of::<f32>();
    Ok(MemoryEstimate { activations: most * value_bytes(network), weights, border })
}

/// For training steps.
pub(crate) fn training(network: &Network, input: [usize; 5]) -> Result<MemoryEstimate, NetworkError> {
    let shapes = shapes::infer(&network.graph, input)?;
    let float = size_of::<f32>();
    let outputs: usize = network.graph.outputs().iter().map(|output| elements(shapes[output.0])).sum();
    if !network.runtime.on_host() {
        return Ok(MemoryEstimate { activations: 0, weights: 0, border: elements(input) * float });
    }
    // What the backward pass reads, and the largest values with their gradients while it runs.
    let mut kept = elements(input);
    let mut most = 0;
    for (index, node) in network.graph.nodes().iter().enumerate().skip(1) {
        let own = elements(shapes[index]);
        kept += match node.operation {
            Operation::InstanceNorm { .. }
            | Operation::BatchNorm { .. }
            | Operation::GroupNorm { .. }
            | Operation::Add { .. } => 0,
            _ => own,
        };
        most = most.max(2 * own + workspace(&node.operation, &shapes, index));
    }
    // Logarithms, probabilities, targets, and up to three products of them.
    let loss = 6 * outputs * float;
    Ok(MemoryEstimate {
        activations: (kept + most) * value_bytes(network),
        weights: 2 * network.graph.parameter_count() * float,
        border: elements(input) * float + loss,
    })
}

/// What libtorch's convolutions take for themselves: both sides in a layout of their own.
fn workspace(operation: &Operation, shapes: &[[usize; 5]], index: usize) -> usize {
    match operation {
        Operation::Convolution { input, .. } | Operation::TransposedConvolution { input, .. } => {
            elements(shapes[input.0]) + elements(shapes[index])
        }
        _ => 0,
    }
}

fn value_bytes(network: &Network) -> usize {
    match network.runtime.arithmetic {
        Arithmetic::F32 => size_of::<f32>(),
        Arithmetic::F16 | Arithmetic::Bf16 => size_of::<f32>() / 2,
    }
}

fn elements(shape: [usize; 5]) -> usize {
    shape.iter().product()
}
