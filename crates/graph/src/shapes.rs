//! Shape inference: the shape (n, c, z, y, x) of every node for a given batch.

use crate::error::NetworkError;
use crate::graph::{Graph, Node, NodeId, Operation};

/// Values that an input has at most, 64 TiB: sums of bytes over all layers of any network fit into 64 bits.
const MOST_VALUES: usize = 1 << 44;
const PATCH_HINT: &str = "Use a patch size that every stage's stride divides";

/// Shape (n, c, z, y, x) of every node of `graph`, by node index, for an input of shape `input`.
pub fn infer(graph: &Graph, input: [usize; 5]) -> Result<Vec<[usize; 5]>, NetworkError> {
    if input[1] != graph.input_channels()
        || input.contains(&0)
        || (graph.spatial_dimensions() == 2 && input[2] != 1)
        || input.iter().try_fold(1usize, |p, &s| p.checked_mul(s)).is_none_or(|p| p > MOST_VALUES)
    {
        return Err(NetworkError::Input {
            found: input,
            expected: format!(
                "{} channels, no axis of length zero, at most {MOST_VALUES} values (check patch_size and batch_size){}",
                graph.input_channels(),
                if graph.spatial_dimensions() == 2 {
                    ", z of length one (two-dimensional network)"
                } else {
                    ""
                }
            ),
        });
    }
    let mut shapes: Vec<[usize; 5]> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        shapes.push(node_shape(graph, node, input, &shapes)?);
    }
    Ok(shapes)
}

fn node_shape(
    graph: &Graph,
    node: &Node,
    input: [usize; 5],
    shapes: &[[usize; 5]],
) -> Result<[usize; 5], NetworkError> {
    let of = |id: NodeId| shapes[id.0];
    let fault = |found: String, expected: String| NetworkError::Shape {
        node: node.name.clone(),
        found,
        expected,
        hint: PATCH_HINT,
    };
    match &node.operation {
        Operation::Input { .. } => Ok(input),
        Operation::Convolution { input, weight, output_channels, kernel, stride, .. } => {
            let shape = of(*input);
            let channels = graph.parameter(*weight).shape[1];
            if shape[1] != channels {
                return Err(fault(format!("{} input channels", shape[1]), format!("{channels}")));
            }
            let mut out = [shape[0], *output_channels, 0, 0, 0];
            for a in 0..3 {
                let padded = shape[2 + a] + 2 * ((kernel[a] - 1) / 2);
                if padded < kernel[a] {
                    return Err(fault(
                        format!("spatial size {:?}", &shape[2..]),
                        format!("at least the kernel size {kernel:?}"),
                    ));
                }
                out[2 + a] = (padded - kernel[a]) / stride[a] + 1;
            }
            Ok(out)
        }
        Operation::TransposedConvolution { input, weight, output_channels, stride, .. } => {
            let shape = of(*input);
            let channels = graph.parameter(*weight).shape[0];
            if shape[1] != channels {
                return Err(fault(format!("{} input channels", shape[1]), format!("{channels}")));
            }
            Ok([shape[0], *output_channels, shape[2] * stride[0], shape[3] * stride[1], shape[4] * stride[2]])
        }
        Operation::InstanceNorm { input, .. } => {
            let shape = of(*input);
            if shape[2..].iter().product::<usize>() < 2 {
                return Err(fault(
                    format!("spatial size {:?}", &shape[2..]),
                    "more than one voxel per channel to normalise over".into(),
                ));
            }
            Ok(shape)
        }
        Operation::GroupNorm { input, groups, .. } => {
            let shape = of(*input);
            if *groups == 0 || !shape[1].is_multiple_of(*groups) {
                let found = format!("{} channels in {groups} groups", shape[1]);
                return Err(fault(found, "a number of groups that divides the channels".into()));
            }
            if shape[1] / groups * shape[2..].iter().product::<usize>() < 2 {
                let found = format!("{groups} groups of one value each");
                return Err(fault(found, "more than one value per group to normalise over".into()));
            }
            Ok(shape)
        }
        Operation::BatchNorm { input, .. }
        | Operation::LeakyRelu { input, .. }
        | Operation::Gelu { input }
        | Operation::Dropout { input, .. } => Ok(of(*input)),
        Operation::Concat { inputs } => {
            let first = of(inputs[0]);
            let mut out = first;
            for id in &inputs[1..] {
                let shape = of(*id);
                if shape[0] != first[0] || shape[2..] != first[2..] {
                    return Err(fault(
                        format!("sizes {:?} and {:?}", &first[2..], &shape[2..]),
                        "equal sizes of the upsampled features and the skip connection".into(),
                    ));
                }
                out[1] += shape[1];
            }
            Ok(out)
        }
        Operation::Add { inputs } => {
            let (a, b) = (of(inputs[0]), of(inputs[1]));
            if a != b {
                return Err(fault(format!("shapes {a:?} and {b:?}"), "equal shapes".into()));
            }
            Ok(a)
        }
        Operation::AveragePool { input, kernel } => {
            let shape = of(*input);
            let out = [shape[0], shape[1], shape[2] / kernel[0], shape[3] / kernel[1], shape[4] / kernel[2]];
            if out.contains(&0) {
                return Err(fault(
                    format!("spatial size {:?}", &shape[2..]),
                    format!("at least the block size {kernel:?}"),
                ));
            }
            Ok(out)
        }
    }
}
