//! `ResidualEncoderUNet`: the U-Net of the ResEnc plans. A stem convolution, stages of residual blocks
//! (ResNet-D: the shortcut is average pooling followed by a 1x1x1 convolution where sizes or channels
//! change), the decoder of [`super::blocks`]. He et al. 2019, arXiv:1812.01187.

use serde_json::Value;

use super::blocks::{self, ConvBlock, ConvSizes, ConvStyle};
use super::kwargs::{Kwargs, UNetSizes};
use super::planning::{PlannedUNet, residual_feature_map_elements};
use super::{Architecture, Surroundings};
use crate::error::NetworkError;
use crate::graph::{Graph, GraphBuilder, NodeId, Operation};

pub(super) const NAME: &str = "ResidualEncoderUNet";

/// The entry for the blocks of each encoder stage.
const BLOCKS: &str = "n_blocks_per_stage";

/// Entries that only this network has.
const KEYS: &[&str] = &[BLOCKS, "block", "bottleneck_channels", "stem_channels"];

/// The architecture.
#[derive(Debug)]
pub(super) struct ResidualUNet;

impl Architecture for ResidualUNet {
    fn class_name(&self) -> &str {
        // The reference's planners write this module, which has both classes.
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    }

    fn graph(&self, arguments: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
        build(arguments, surroundings)
    }

    fn blocks_argument(&self) -> &str {
        BLOCKS
    }

    fn feature_map_elements(&self, network: &PlannedUNet<'_>, patch_size: &[usize]) -> u64 {
        residual_feature_map_elements(network, patch_size)
    }
}

fn build(arch_kwargs: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
    let kwargs = Kwargs::new(NAME, arch_kwargs, KEYS)?;
    let unet = kwargs.unet()?;
    let UNetSizes { stages, dimensions, style, ref channels, ref kernels, ref strides, .. } = unet;
    let blocks_per_stage = kwargs.repeats(BLOCKS, stages)?;
    let stem_channels = kwargs.channel_count("stem_channels")?.unwrap_or(channels[0]);
    let bottleneck = match (kwargs.get("block"), kwargs.class_name("block")) {
        (None, _) | (_, Some("BasicBlockD")) => None,
        (_, Some("BottleneckD")) => Some(kwargs.channels("bottleneck_channels", stages)?),
        _ => return Err(kwargs.fault("block", "null, BasicBlockD or BottleneckD")),
    };

    let mut builder = GraphBuilder::new(surroundings.input_channels, dimensions);
    let stem_sizes = ConvSizes {
        input_channels: surroundings.input_channels,
        output_channels: stem_channels,
        kernel: kernels[0],
        stride: [1; 3],
    };
    let stem = blocks::declare_stack(&mut builder, "encoder.stem", style, stem_sizes, 1);
    let input = builder.input();
    let mut value = blocks::apply_stack(&mut builder, &stem, input);
    let mut input_channels = stem_channels;
    let mut results = Vec::new();
    for s in 0..stages {
        for i in 0..blocks_per_stage[s] {
            let sizes = ConvSizes {
                input_channels,
                output_channels: channels[s],
                kernel: kernels[s],
                stride: if i == 0 { strides[s] } else { [1; 3] },
            };
            let name = format!("encoder.stages.{s}.blocks.{i}");
            let between = bottleneck.as_ref().map(|b| b[s]);
            value = residual_block(&mut builder, &name, style, sizes, between, value);
            input_channels = channels[s];
        }
        results.push(value);
    }
    Ok(blocks::finish_with_decoder(builder, &unet, &results, surroundings))
}

/// One residual block: two convolutions, or with `bottleneck` channels 1x1x1, kernel, 1x1x1.
fn residual_block(
    builder: &mut GraphBuilder,
    name: &str,
    style: ConvStyle,
    sizes: ConvSizes,
    bottleneck: Option<usize>,
    input: NodeId,
) -> NodeId {
    let ConvSizes { input_channels, output_channels, kernel, stride } = sizes;
    let convs: Vec<ConvSizes> = match bottleneck {
        None => vec![sizes, ConvSizes { input_channels: output_channels, stride: [1; 3], ..sizes }],
        Some(between) => vec![
            ConvSizes { input_channels, output_channels: between, kernel: [1; 3], stride: [1; 3] },
            ConvSizes { input_channels: between, output_channels: between, kernel, stride },
            ConvSizes { input_channels: between, output_channels, kernel: [1; 3], stride: [1; 3] },
        ],
    };
    // The convolution with the kernel: the only one with a dropout.
    let main = usize::from(bottleneck.is_some());
    let last = convs.len() - 1;
    let declared: Vec<ConvBlock> = convs
        .into_iter()
        .enumerate()
        .map(|(i, sizes)| {
            // Nothing follows the last norm before the addition; it starts at zero, so that the block
            // starts as its shortcut.
            let (style, norm_start) = if i == last { (style.linear(), 0.0) } else { (style, 1.0) };
            let style = ConvStyle { dropout: style.dropout.filter(|_| i == main), ..style };
            ConvBlock::declare(builder, format!("{name}.conv{}", i + 1), style, sizes, norm_start)
        })
        .collect();
    let pooled = stride != [1; 3];
    let projection = (input_channels != output_channels).then(|| {
        // The projection is the shortcut's second module behind a pooling, else its first.
        let place = usize::from(pooled);
        let sizes = ConvSizes { input_channels, output_channels, kernel: [1; 3], stride: [1; 3] };
        ConvBlock::declare(
            builder,
            format!("{name}.skip.{place}"),
            ConvStyle { bias: false, ..style.linear() },
            sizes,
            1.0,
        )
    });

    let mut shortcut = input;
    if pooled {
        let operation = Operation::AveragePool { input: shortcut, kernel: stride };
        shortcut = builder.push(format!("{name}.skip.0"), operation);
    }
    if let Some(projection) = &projection {
        shortcut = projection.apply(builder, shortcut);
    }
    let residual = blocks::apply_stack(builder, &declared, input);
    let sum = builder.push(format!("{name}.add"), Operation::Add { inputs: [residual, shortcut] });
    blocks::activate(builder, format!("{name}.nonlin"), style.activation, sum)
}
