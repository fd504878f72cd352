//! `PlainConvUNet`: the U-Net of nnU-Net's default plans. Stacked convolutions per stage, the first of
//! each stage strided; the decoder of [`super::blocks`].

use serde_json::Value;

use super::Surroundings;
use super::blocks::{self, ConvSizes};
use super::kwargs::Kwargs;
use crate::error::NetworkError;
use crate::graph::{Graph, GraphBuilder};

pub(super) const NAME: &str = "PlainConvUNet";

/// Entries that only this network has.
const KEYS: &[&str] = &["n_conv_per_stage", "nonlin_first"];

pub(super) fn build(arch_kwargs: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
    let kwargs = Kwargs::new(NAME, arch_kwargs, KEYS)?;
    let unet = kwargs.unet()?;
    let convs = kwargs.repeats("n_conv_per_stage", unet.stages)?;

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
