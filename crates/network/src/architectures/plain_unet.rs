//! `PlainConvUNet`: the U-Net of nnU-Net's default plans. Stacked convolutions per stage, the first of
//! each stage strided; the decoder of [`super::blocks`].

use serde_json::Value;

use super::Surroundings;
use super::blocks::{self, ConvSizes, EncoderStages};
use super::kwargs::Kwargs;
use crate::error::NetworkError;
use crate::graph::{Graph, GraphBuilder};

pub(super) const NAME: &str = "PlainConvUNet";

const KEYS: &[&str] = &[
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage",
    "n_conv_per_stage_decoder",
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "nonlin_first",
    "deep_supervision",
];

pub(super) fn build(arch_kwargs: &Value, surroundings: Surroundings) -> Result<Graph, NetworkError> {
    let kwargs = Kwargs::new(NAME, arch_kwargs, KEYS)?;
    let stages = kwargs.stages()?;
    let channels = kwargs.channels("features_per_stage", stages)?;
    let dimensions = kwargs.dimensions()?;
    let kernels = kwargs.kernels(stages, dimensions)?;
    let strides = kwargs.strides(stages, dimensions)?;
    let convs = kwargs.repeats("n_conv_per_stage", stages)?;
    let convs_decoder = kwargs.repeats("n_conv_per_stage_decoder", stages - 1)?;
    let style = kwargs.conv_style(dimensions)?;

    let mut builder = GraphBuilder::new(surroundings.input_channels, dimensions);
    let mut value = builder.input();
    let mut results = Vec::new();
    for s in 0..stages {
        let sizes = ConvSizes {
            input_channels: if s == 0 { surroundings.input_channels } else { channels[s - 1] },
            output_channels: channels[s],
            kernel: kernels[s],
            stride: strides[s],
        };
        let name = format!("encoder.stages.{s}.0");
        let stack = blocks::declare_stack(&mut builder, &name, style, sizes, convs[s]);
        value = blocks::apply_stack(&mut builder, &stack, value);
        results.push(value);
    }
    let encoder =
        EncoderStages { channels: &channels, kernels: &kernels, strides: &strides, results: &results };
    Ok(blocks::finish_with_decoder(
        builder,
        style,
        &encoder,
        &convs_decoder,
        surroundings.output_channels,
        surroundings.deep_supervision,
    ))
}
