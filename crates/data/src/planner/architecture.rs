//! The network of a configuration, as plans describe it.

use super::decided::{Decided, Decisions};
use super::patch_size::PatchPlan;
use super::preset::{NetworkFamily, PlannerPreset};
use nnunet_pyformats::json::Json;

/// The entry `architecture` of a configuration; `planner` is the planner's name.
pub(super) fn architecture(preset: &PlannerPreset, planner: &str, plan: &PatchPlan) -> Decisions {
    let (class, blocks, description) = match preset.family {
        NetworkFamily::PlainConvUNet => ("PlainConvUNet", "n_conv_per_stage", "plans for plain U-Nets"),
        NetworkFamily::ResidualEncoderUNet => {
            ("ResidualEncoderUNet", "n_blocks_per_stage", "plans for U-Nets with residual encoders")
        }
    };
    let planner_source = format!("planner {planner}");
    let fixed = |value: Json| Decided::new(value, planner_source.clone(), "fixed");
    let dimensions = plan.spacing.len();
    let per_axes = |value: String| {
        Decided::new(value, format!("{dimensions} axes of patch_size"), "the operation for as many axes")
    };
    let topology = plan.topology.decided(&plan.spacing);
    let stages = plan.topology.stages();
    let per_stage = |counts: Vec<usize>| {
        Decided::new(counts, format!("n_stages {stages}"), format!("fixed by {planner}"))
    };
    let kwargs = Decisions::new()
        .value("n_stages", topology.clone().map(|topology| topology.stages()))
        .value("features_per_stage", plan.decided_features())
        .value("conv_op", per_axes(format!("torch.nn.modules.conv.Conv{dimensions}d")))
        .value("kernel_sizes", topology.clone().map(|topology| topology.kernel_sizes.clone()))
        .value("strides", topology.map(|topology| topology.strides.clone()))
        .value(blocks, per_stage(preset.encoder_blocks(stages)))
        .value("n_conv_per_stage_decoder", per_stage(preset.decoder_convolutions(stages)))
        .value("conv_bias", fixed(true.into()))
        .value("norm_op", per_axes(format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d")))
        .value("norm_op_kwargs", fixed(Json::object([("eps", Json::Float(1e-5)), ("affine", true.into())])))
        .value("dropout_op", fixed(Json::Null))
        .value("dropout_op_kwargs", fixed(Json::Null))
        .value("nonlin", fixed("torch.nn.LeakyReLU".into()))
        .value("nonlin_kwargs", fixed(Json::object([("inplace", Json::Bool(true))])));
    let class_name = format!("dynamic_network_architectures.architectures.unet.{class}");
    Decisions::new()
        .value("network_class_name", Decided::new(class_name, planner_source.clone(), description))
        .object("arch_kwargs", kwargs)
        .value("_kw_requires_import", fixed(["conv_op", "norm_op", "dropout_op", "nonlin"].into()))
}
