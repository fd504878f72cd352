//! The building blocks that the U-Nets share: convolution with norm and activation, the decoder.
//!
//! Parameters are registered module by module (PyTorch's order), nodes are added in the order of
//! computation; so each block is first declared, then applied.

use super::Surroundings;
use super::kwargs::UNetSizes;
use crate::graph::{
    Graph, GraphBuilder, InitialValue, NodeId, Operation, ParameterId, RunningStatistics, Stored,
};

/// Negative slope that nnU-Net's initialisation assumes, whatever the activation.
const INIT_SLOPE: f64 = 0.01;

/// What all convolutions of a network share.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvStyle {
    /// Whether convolutions have a bias.
    pub(super) bias: bool,
    pub(super) norm: Option<NormStyle>,
    pub(super) activation: Option<Activation>,
    /// Whether the activation comes before the norm.
    pub(super) activation_first: bool,
    /// Probability of the dropout right after the convolution; `None` without one.
    pub(super) dropout: Option<f64>,
}

impl ConvStyle {
    /// Without activation and dropout: what comes before a residual sum.
    pub(super) fn linear(self) -> Self {
        Self { activation: None, dropout: None, ..self }
    }
}

/// A norm and its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormStyle {
    pub(super) kind: NormKind,
    /// Added to the variance.
    pub(super) epsilon: f64,
    /// Whether the norm has weight and bias.
    pub(super) affine: bool,
}

/// What a norm takes its statistics over.
#[derive(Debug, Clone, Copy)]
pub(super) enum NormKind {
    Instance,
    /// `tracked`: with running statistics, moved by `momentum` (`None`: the mean over all batches).
    Batch {
        momentum: Option<f64>,
        tracked: bool,
    },
    Group {
        groups: usize,
    },
}

/// An activation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Activation {
    /// With its negative slope.
    LeakyRelu(f64),
    Gelu,
}

/// Convolution, norm and activation with registered parameters.
#[derive(Debug)]
pub(super) struct ConvBlock {
    name: String,
    weight: ParameterId,
    bias: Option<ParameterId>,
    affine: Option<(ParameterId, ParameterId)>,
    running: Option<RunningStatistics>,
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
    /// Registers the parameters and buffers under `name` and their state dict entries: first `conv` and `norm`,
    /// then the same tensors by their places in `all_modules`. `norm_start` is the initial weight of the norm.
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
        let affine = style.norm.filter(|norm| norm.affine).map(|_| {
            let weight =
                builder.parameter(format!("{name}.norm.weight"), channels.clone(), constant(norm_start));
            (weight, builder.parameter(format!("{name}.norm.bias"), channels.clone(), constant(0.0)))
        });
        let running = match style.norm.map(|norm| norm.kind) {
            Some(NormKind::Batch { momentum, tracked: true }) => Some(RunningStatistics {
                mean: builder.buffer(format!("{name}.norm.running_mean"), channels.clone(), 0.0),
                variance: builder.buffer(format!("{name}.norm.running_var"), channels, 1.0),
                batches: builder.buffer(format!("{name}.norm.num_batches_tracked"), Vec::new(), 0.0),
                momentum,
            }),
            _ => None,
        };
        let before_norm = usize::from(style.dropout.is_some())
            + usize::from(style.activation_first && style.activation.is_some());
        let place = format!("all_modules.{}", 1 + before_norm);
        for (conv, norm) in [("conv", "norm"), ("all_modules.0", &place)] {
            let mut entry = |module: &str, tensor: &str, stored: Stored| {
                builder.state_entry(format!("{name}.{module}.{tensor}"), stored);
            };
            entry(conv, "weight", Stored::Parameter(weight));
            if let Some(bias) = bias {
                entry(conv, "bias", Stored::Parameter(bias));
            }
            if let Some((weight, bias)) = affine {
                entry(norm, "weight", Stored::Parameter(weight));
                entry(norm, "bias", Stored::Parameter(bias));
            }
            if let Some(RunningStatistics { mean, variance, batches, .. }) = running {
                entry(norm, "running_mean", Stored::Buffer(mean));
                entry(norm, "running_var", Stored::Buffer(variance));
                entry(norm, "num_batches_tracked", Stored::Buffer(batches));
            }
        }
        let ConvSizes { output_channels, kernel, stride, .. } = sizes;
        Self { name, weight, bias, affine, running, style, output_channels, kernel, stride }
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
        if let Some(probability) = self.style.dropout {
            let operation = Operation::Dropout { input: value, probability };
            value = builder.push(format!("{}.dropout", self.name), operation);
        }
        let activation = |builder: &mut GraphBuilder, value: NodeId| {
            activate(builder, format!("{}.nonlin", self.name), self.style.activation, value)
        };
        if self.style.activation_first {
            let active = activation(builder, value);
            self.normalise(builder, active)
        } else {
            let normalised = self.normalise(builder, value);
            activation(builder, normalised)
        }
    }

    fn normalise(&self, builder: &mut GraphBuilder, input: NodeId) -> NodeId {
        let Some(NormStyle { kind, epsilon, .. }) = self.style.norm else { return input };
        let (affine, running) = (self.affine, self.running);
        let operation = match kind {
            NormKind::Instance => Operation::InstanceNorm { input, affine, epsilon },
            NormKind::Batch { .. } => Operation::BatchNorm { input, affine, epsilon, running },
            NormKind::Group { groups } => Operation::GroupNorm { input, groups, affine, epsilon },
        };
        builder.push(format!("{}.norm", self.name), operation)
    }
}

/// Adds an activation where there is one.
pub(super) fn activate(
    builder: &mut GraphBuilder,
    name: String,
    activation: Option<Activation>,
    input: NodeId,
) -> NodeId {
    match activation {
        Some(Activation::LeakyRelu(slope)) => builder.push(name, Operation::LeakyRelu { input, slope }),
        Some(Activation::Gelu) => builder.push(name, Operation::Gelu { input }),
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

/// Beginning of the names of the segmentation heads.
const HEADS: &str = "decoder.seg_layers.";

/// Adds the U-Net decoder behind the encoder and finishes the graph.
///
/// Each decoder stage upsamples with a transposed convolution, concatenates (upsampled, skip) and
/// convolves; every stage has a 1x1x1 head, stage 0 being the lowest resolution. `results` are those of the encoder's stages, highest
/// resolution first.
pub(super) fn finish_with_decoder(
    mut builder: GraphBuilder,
    sizes: &UNetSizes,
    results: &[NodeId],
    surroundings: Surroundings,
) -> Graph {
    let Surroundings { output_channels, deep_supervision, .. } = surroundings;
    let UNetSizes { stages, style, ref channels, ref kernels, ref strides, ref decoder_convs, .. } = *sizes;
    let b = &mut builder;
    // The decoder keeps a reference to the encoder, so the state dict lists all of it a second time.
    b.repeat_state_entries("decoder.");
    // Decoder stage s joins encoder stage below = stages - 1 - s with the skip of the stage above.
    let above = |s: usize| stages - 2 - s;
    let stacks: Vec<Vec<ConvBlock>> = (0..stages - 1)
        .map(|s| {
            let skip = channels[above(s)];
            let kernel = kernels[above(s)];
            let sizes = ConvSizes { input_channels: 2 * skip, output_channels: skip, kernel, stride: [1; 3] };
            declare_stack(b, &format!("decoder.stages.{s}"), style, sizes, decoder_convs[s])
        })
        .collect();
    let upsampling: Vec<(ParameterId, Option<ParameterId>)> = (0..stages - 1)
        .map(|s| {
            let name = format!("decoder.transpconvs.{s}");
            let (below, skip) = (channels[above(s) + 1], channels[above(s)]);
            let mut shape = vec![below, skip];
            shape.extend(b.kernel_shape(strides[above(s) + 1]));
            let fan_in = shape[1..].iter().product();
            let he = InitialValue::HeNormal { fan_in, slope: INIT_SLOPE };
            let weight = b.parameter(format!("{name}.weight"), shape, he);
            b.state_entry(format!("{name}.weight"), Stored::Parameter(weight));
            let bias = style.bias.then(|| {
                let bias = b.parameter(format!("{name}.bias"), vec![skip], InitialValue::Constant(0.0));
                b.state_entry(format!("{name}.bias"), Stored::Parameter(bias));
                bias
            });
            (weight, bias)
        })
        .collect();
    b.heads(HEADS);
    let heads: Vec<(ParameterId, ParameterId)> = (0..stages - 1)
        .map(|s| {
            let name = format!("{HEADS}{s}");
            let input_channels = channels[above(s)];
            let sizes = ConvSizes { input_channels, output_channels, kernel: [1; 3], stride: [1; 3] };
            let weight = conv_weight(b, format!("{name}.weight"), &sizes);
            b.state_entry(format!("{name}.weight"), Stored::Parameter(weight));
            let bias =
                b.parameter(format!("{name}.bias"), vec![output_channels], InitialValue::Constant(0.0));
            b.state_entry(format!("{name}.bias"), Stored::Parameter(bias));
            (weight, bias)
        })
        .collect();

    let mut outputs = Vec::new();
    let mut value = results[stages - 1];
    for s in 0..stages - 1 {
        let (weight, bias) = upsampling[s];
        let upsampled = b.push(
            format!("decoder.transpconvs.{s}"),
            Operation::TransposedConvolution {
                input: value,
                weight,
                bias,
                output_channels: channels[above(s)],
                stride: strides[above(s) + 1],
            },
        );
        let inputs = vec![upsampled, results[above(s)]];
        value = b.push(format!("decoder.stages.{s}.concat"), Operation::Concat { inputs });
        value = apply_stack(b, &stacks[s], value);
        if deep_supervision || s == stages - 2 {
            let (weight, bias) = heads[s];
            outputs.push(b.push(
                format!("{HEADS}{s}"),
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
