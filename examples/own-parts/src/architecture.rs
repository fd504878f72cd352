//! `FlatNet`: a stem, residual blocks of one width at full resolution, and a head of 1x1x1 convolutions. For objects so
//! small that pooling would lose them.

use nnunet::graph::architectures::{Architecture, Surroundings};
use nnunet::graph::graph::{GraphBuilder, InitialValue, NodeId, Operation, ParameterId, Stored};
use nnunet::graph::{Graph, NetworkError};
use nnunet::parts::Options;
use serde_json::{Map, Value};

/// Slope of the leaky ReLU.
const SLOPE: f64 = 0.01;

/// The architecture. Its arguments: `dimensions` (2 or 3), `width` (channels) and `blocks`.
#[derive(Debug)]
pub(crate) struct FlatNet;

impl Architecture for FlatNet {
    fn class_name(&self) -> &str {
        "own_parts.FlatNet"
    }

    fn graph(&self, arguments: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
        let none = Map::new();
        let mut options = Options::new("network FlatNet", arguments.as_object().unwrap_or(&none));
        let two_or_three = |value: &Value| value.as_u64().filter(|n| (2..=3).contains(n));
        let dimensions = options.read("dimensions", "2 or 3", two_or_three)?.unwrap_or(3) as usize;
        let width = options.count("width", 16)?;
        let blocks = options.count("blocks", 2)?;
        if width == 0 {
            return Err(options.invalid("width", "at least 1 channel").into());
        }
        options.finish()?;

        let Surroundings { input_channels, output_channels, .. } = surroundings;
        let mut net = Layers { builder: GraphBuilder::new(input_channels, dimensions), dimensions };
        let input = net.builder.input();
        let stem = net.convolution("stem", input, [input_channels, width], 3);
        let mut value = net.activated("stem", stem, width);
        for block in 0..blocks {
            let name = format!("blocks.{block}");
            let changed = net.convolution(&name, value, [width, width], 3);
            let changed = net.activated(&name, changed, width);
            value = net.builder.push(format!("{name}.add"), Operation::Add { inputs: [value, changed] });
        }
        // Fine-tuning on other classes starts these anew.
        net.builder.heads("head.");
        let output = net.convolution("head", value, [width, output_channels], 1);
        Ok(net.builder.finish(vec![output]))
    }
}

/// Adds layers with their parameters under PyTorch's names.
struct Layers {
    builder: GraphBuilder,
    dimensions: usize,
}

impl Layers {
    /// A convolution with bias, from and to so many channels.
    fn convolution(&mut self, name: &str, input: NodeId, [from, to]: [usize; 2], edge: usize) -> NodeId {
        let kernel = if self.dimensions == 2 { [1, edge, edge] } else { [edge; 3] };
        let mut shape = vec![to, from];
        shape.extend(self.builder.kernel_shape(kernel));
        let fan_in = shape[1..].iter().product();
        let he = InitialValue::HeNormal { fan_in, slope: SLOPE };
        let weight = self.parameter(format!("{name}.conv.weight"), shape, he);
        let bias = self.parameter(format!("{name}.conv.bias"), vec![to], InitialValue::Constant(0.0));
        let operation = Operation::Convolution {
            input,
            weight,
            bias: Some(bias),
            output_channels: to,
            kernel,
            stride: [1; 3],
        };
        self.builder.push(format!("{name}.conv"), operation)
    }

    /// Instance norm and leaky ReLU.
    fn activated(&mut self, name: &str, input: NodeId, channels: usize) -> NodeId {
        let weight =
            self.parameter(format!("{name}.norm.weight"), vec![channels], InitialValue::Constant(1.0));
        let bias = self.parameter(format!("{name}.norm.bias"), vec![channels], InitialValue::Constant(0.0));
        let norm = Operation::InstanceNorm { input, affine: Some((weight, bias)), epsilon: 1e-5 };
        let input = self.builder.push(format!("{name}.norm"), norm);
        self.builder.push(format!("{name}.nonlin"), Operation::LeakyRelu { input, slope: SLOPE })
    }

    /// A parameter with its entry in the checkpoints.
    fn parameter(&mut self, name: String, shape: Vec<usize>, initial: InitialValue) -> ParameterId {
        let parameter = self.builder.parameter(name.clone(), shape, initial);
        self.builder.state_entry(name, Stored::Parameter(parameter));
        parameter
    }
}
