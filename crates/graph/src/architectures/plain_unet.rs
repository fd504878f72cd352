//! `PlainConvUNet`: the U-Net of nnU-Net's default plans. Stacked convolutions per stage, the first of
//! each stage strided; the decoder of [`super::blocks`].

use serde_json::Value;

use super::blocks::{self, ConvSizes};
use super::kwargs::Kwargs;
use super::{Architecture, Surroundings};
use crate::error::NetworkError;
use crate::graph::{Graph, GraphBuilder};

pub(super) const NAME: &str = "PlainConvUNet";

/// The entry for the convolutions of each encoder stage.
pub(super) const BLOCKS: &str = "n_conv_per_stage";

/// Entries that only this network has.
const KEYS: &[&str] = &[BLOCKS, "nonlin_first"];

/// The architecture; what planners ask is as every architecture has it by default.
#[derive(Debug)]
pub(super) struct PlainUNet;

impl Architecture for PlainUNet {
    fn class_name(&self) -> &str {
        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    }

    fn graph(&self, arguments: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
        build(arguments, surroundings)
    }
}

fn build(arch_kwargs: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
    let kwargs = Kwargs::new(NAME, arch_kwargs, KEYS)?;
    let unet = kwargs.unet()?;
    let convs = kwargs.repeats(BLOCKS, unet.stages)?;

    let mut builder = GraphBuilder::new(surroundings.input_channels, unet.dimensions);
    let mut value = builder.input();
    let mut results = Vec::new();
    for (s, &count) in convs.iter().enumerate() {
        let sizes = ConvSizes {
            input_channels: if s == 0 { surroundings.input_channels } else { unet.channels[s - 1] },
            output_channels: unet.channels[s],
            kernel: unet.kernels[s],
            stride: unet.strides[s],
        };
        let name = format!("encoder.stages.{s}.0");
        let stack = blocks::declare_stack(&mut builder, &name, unet.style, sizes, count);
        value = blocks::apply_stack(&mut builder, &stack, value);
        results.push(value);
    }
    Ok(blocks::finish_with_decoder(builder, &unet, &results, surroundings))
}
