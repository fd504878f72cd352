//! The building blocks that the U-Nets share: convolution with norm and activation, the decoder.
//!
//! Parameters are registered module by module (PyTorch's order), nodes are added in the order of
//! computation; so each block is first declared, then applied.

use crate::graph::{Graph, GraphBuilder, InitialValue, NodeId, Operation, ParameterId};

/// Negative slope that nnU-Net's initialisation assumes, whatever the activation.
const INIT_SLOPE: f64 = 0.01;

/// What all convolutions of a network share.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvStyle {
    /// Whether convolutions have a bias.
    pub(super) bias: bool,
    /// Epsilon of the instance norm; `None` without a norm.
    pub(super) norm_epsilon: Option<f64>,
    /// Whether the norm has weight and bias.
    pub(super) norm_affine: bool,
    /// Negative slope of the activation; `None` without one.
    pub(super) slope: Option<f64>,
}

/// Convolution, norm and activation with registered parameters.
#[derive(Debug)]
pub(super) struct ConvBlock {
    name: String,
    weight: ParameterId,
    bias: Option<ParameterId>,
    affine: Option<(ParameterId, ParameterId)>,
    style: ConvStyle,
    pub(super) output_channels: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
}

/// Sizes of one convolution block.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvSizes {
    pub(super) input_channels: usize,
    pub(super) output_channels: usize,
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
}

fn conv_weight(builder: &mut GraphBuilder, name: String, sizes: &ConvSizes) -> ParameterId {
    let mut shape = vec![sizes.output_channels, sizes.input_channels];
    shape.extend(builder.kernel_shape(sizes.kernel));
    let fan_in = shape[1..].iter().product();
    builder.parameter(name, shape, InitialValue::HeNormal { fan_in, slope: INIT_SLOPE })
}

impl ConvBlock {
    /// Registers the parameters under `name` and their state dict entries: first `conv` and `norm`,
    /// then the same tensors as `all_modules.0` and `all_modules.1`. `norm_start` is the initial weight of the norm.
    pub(super) fn declare(
        builder: &mut GraphBuilder,
        name: String,
        style: ConvStyle,
        sizes: ConvSizes,
        norm_start: f32,
    ) -> Self {
        let channels = vec![sizes.output_channels];
        let constant = InitialValue::Constant;
        let weight = conv_weight(builder, format!("{name}.conv.weight"), &sizes);
        let bias = style
            .bias
            .then(|| builder.parameter(format!("{name}.conv.bias"), channels.clone(), constant(0.0)));
        let affine = style.norm_affine.then(|| {
            let weight =
                builder.parameter(format!("{name}.norm.weight"), channels.clone(), constant(norm_start));
            (weight, builder.parameter(format!("{name}.norm.bias"), channels, constant(0.0)))
        });
        for (conv, norm) in [("conv", "norm"), ("all_modules.0", "all_modules.1")] {
            builder.state_entry(format!("{name}.{conv}.weight"), weight);
            if let Some(bias) = bias {
                builder.state_entry(format!("{name}.{conv}.bias"), bias);
            }
            if let Some((weight, bias)) = affine {
                builder.state_entry(format!("{name}.{norm}.weight"), weight);
                builder.state_entry(format!("{name}.{norm}.bias"), bias);
            }
        }
        let ConvSizes { output_channels, kernel, stride, .. } = sizes;
        Self { name, weight, bias, affine, style, output_channels, kernel, stride }
    }

    /// Adds the nodes and returns the block's result.
    pub(super) fn apply(&self, builder: &mut GraphBuilder, input: NodeId) -> NodeId {
        let mut value = builder.push(
            format!("{}.conv", self.name),
            Operation::Convolution {
                input,
                weight: self.weight,
                bias: self.bias,
                output_channels: self.output_channels,
                kernel: self.kernel,
                stride: self.stride,
            },
        );
        if let Some(epsilon) = self.style.norm_epsilon {
            let operation = Operation::InstanceNorm { input: value, affine: self.affine, epsilon };
            value = builder.push(format!("{}.norm", self.name), operation);
        }
        activate(builder, format!("{}.nonlin", self.name), self.style.slope, value)
    }
}

/// Adds an activation where there is one.
pub(super) fn activate(
    builder: &mut GraphBuilder,
    name: String,
    slope: Option<f64>,
    input: NodeId,
) -> NodeId {
    match slope {
        Some(slope) => builder.push(name, Operation::LeakyRelu { input, slope }),
        None => input,
    }
}

/// Declares `count` convolution blocks in a row, `name.convs.0` and on; only the first has the stride.
pub(super) fn declare_stack(
    builder: &mut GraphBuilder,
    name: &str,
    style: ConvStyle,
    sizes: ConvSizes,
    count: usize,
) -> Vec<ConvBlock> {
    (0..count)
        .map(|i| {
            let sizes = match i {
                0 => sizes,
                _ => ConvSizes { input_channels: sizes.output_channels, stride: [1; 3], ..sizes },
            };
            ConvBlock::declare(builder, format!("{name}.convs.{i}"), style, sizes, 1.0)
        })
        .collect()
}

/// Applies blocks one after the other.
pub(super) fn apply_stack(builder: &mut GraphBuilder, blocks: &[ConvBlock], input: NodeId) -> NodeId {
    blocks.iter().fold(input, |value, block| block.apply(builder, value))
}

/// What the decoder needs to know of the encoder, each with one entry per stage.
#[derive(Debug)]
pub(super) struct EncoderStages<'a> {
    pub(super) channels: &'a [usize],
    pub(super) kernels: &'a [[usize; 3]],
    pub(super) strides: &'a [[usize; 3]],
    /// Results of the stages, highest resolution first.
    pub(super) results: &'a [NodeId],
}

/// Adds the U-Net decoder behind the encoder and finishes the graph.
///
/// Each decoder stage upsamples with a transposed convolution, concatenates (upsampled, skip) and
/// convolves; every stage has a 1x1x1 head, stage 0 being the lowest resolution.
pub(super) fn finish_with_decoder(
    mut builder: GraphBuilder,
    style: ConvStyle,
    encoder: &EncoderStages<'_>,
    convs_per_stage: &[usize],
    output_channels: usize,
    deep_supervision: bool,
) -> Graph {
    let b = &mut builder;
    let stages = encoder.channels.len();
    // The decoder keeps a reference to the encoder, so the state dict lists all of it a second time.
    b.repeat_state_entries("decoder.");
    // Decoder stage s joins encoder stage below = stages - 1 - s with the skip of the stage above.
    let above = |s: usize| stages - 2 - s;
    let stacks: Vec<Vec<ConvBlock>> = (0..stages - 1)
        .map(|s| {
            let skip = encoder.channels[above(s)];
            let kernel = encoder.kernels[above(s)];
            let sizes = ConvSizes { input_channels: 2 * skip, output_channels: skip, kernel, stride: [1; 3] };
            declare_stack(b, &format!("decoder.stages.{s}"), style, sizes, convs_per_stage[s])
        })
        .collect();
    let upsampling: Vec<(ParameterId, Option<ParameterId>)> = (0..stages - 1)
        .map(|s| {
            let name = format!("decoder.transpconvs.{s}");
            let (below, skip) = (encoder.channels[above(s) + 1], encoder.channels[above(s)]);
            let mut shape = vec![below, skip];
            shape.extend(b.kernel_shape(encoder.strides[above(s) + 1]));
            let fan_in = shape[1..].iter().product();
            let he = InitialValue::HeNormal { fan_in, slope: INIT_SLOPE };
            let weight = b.parameter(format!("{name}.weight"), shape, he);
            b.state_entry(format!("{name}.weight"), weight);
            let bias = style.bias.then(|| {
                let bias = b.parameter(format!("{name}.bias"), vec![skip], InitialValue::Constant(0.0));
                b.state_entry(format!("{name}.bias"), bias);
                bias
            });
            (weight, bias)
        })
        .collect();
    let heads: Vec<(ParameterId, ParameterId)> = (0..stages - 1)
        .map(|s| {
            let name = format!("decoder.seg_layers.{s}");
            let input_channels = encoder.channels[above(s)];
            let sizes = ConvSizes { input_channels, output_channels, kernel: [1; 3], stride: [1; 3] };
            let weight = conv_weight(b, format!("{name}.weight"), &sizes);
            b.state_entry(format!("{name}.weight"), weight);
            let bias =
                b.parameter(format!("{name}.bias"), vec![output_channels], InitialValue::Constant(0.0));
            b.state_entry(format!("{name}.bias"), bias);
            (weight, bias)
        })
        .collect();

    let mut outputs = Vec::new();
    let mut value = encoder.results[stages - 1];
    for s in 0..stages - 1 {
        let (weight, bias) = upsampling[s];
        let upsampled = b.push(
            format!("decoder.transpconvs.{s}"),
            Operation::TransposedConvolution {
                input: value,
                weight,
                bias,
                output_channels: encoder.channels[above(s)],
                stride: encoder.strides[above(s) + 1],
            },
        );
        let inputs = vec![upsampled, encoder.results[above(s)]];
        value = b.push(format!("decoder.stages.{s}.concat"), Operation::Concat { inputs });
        value = apply_stack(b, &stacks[s], value);
        if deep_supervision || s == stages - 2 {
            let (weight, bias) = heads[s];
            outputs.push(b.push(
                format!("decoder.seg_layers.{s}"),
                Operation::Convolution {
                    input: value,
                    weight,
                    bias: Some(bias),
                    output_channels,
                    kernel: [1; 3],
                    stride: [1; 3],
                },
            ));
        }
    }
    outputs.reverse();
    builder.finish(outputs)
}
