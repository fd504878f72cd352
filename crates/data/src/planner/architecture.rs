//! The network of a configuration, as plans describe it.

use super::decided::{Decided, Decisions};
use super::patch_size::PatchPlan;
use super::preset::PlannerPreset;
use nnunet_graph::architectures::Architecture;
use nnunet_pyformats::json::Json;

/// Arguments that are Python names to be imported, where a network has them.
const IMPORTED: [&str; 4] = ["conv_op", "norm_op", "dropout_op", "nonlin"];

/// The entry `architecture` of a configuration; `planner` is the planner's name.
pub(super) fn architecture(
    preset: &PlannerPreset,
    network: &dyn Architecture,
    planner: &str,
    plan: &PatchPlan,
) -> Decisions {
    let planner_source = format!("planner {planner}");
    let fixed = |value: Json| Decided::new(value, planner_source.clone(), "fixed");
    let dimensions = plan.spacing.len();
    let per_axes = |value: Json| {
        Decided::new(value, format!("{dimensions} axes of patch_size"), "the operation for as many axes")
    };
    let topology = plan.topology.decided(&plan.spacing);
    let stages = plan.topology.stages();
    let per_stage = |counts: Vec<usize>| {
        Decided::new(counts, format!("n_stages {stages}"), format!("fixed by {planner}"))
    };
    let mut kwargs = Decisions::new()
        .value("n_stages", topology.clone().map(|topology| topology.stages()))
        .value("features_per_stage", plan.decided_features())
        .value("conv_op", per_axes(format!("torch.nn.modules.conv.Conv{dimensions}d").into()))
        .value("kernel_sizes", topology.clone().map(|topology| topology.kernel_sizes.clone()))
        .value("strides", topology.map(|topology| topology.strides.clone()))
        .value(network.blocks_argument(), per_stage(preset.encoder_blocks(stages)))
        .value("n_conv_per_stage_decoder", per_stage(preset.decoder_convolutions(stages)));
    let of_other_dimensions = network.default_arguments(5 - dimensions);
    for (name, value) in network.default_arguments(dimensions) {
        let depends_on_axes = of_other_dimensions.get(&name) != Some(&value);
        let decided = if depends_on_axes { per_axes(value.into()) } else { fixed(value.into()) };
        kwargs = kwargs.value(name, decided);
    }
    let imported: Vec<&str> = IMPORTED.into_iter().filter(|name| kwargs.get(name).is_some()).collect();
    let class_name = network.class_name().to_owned();
    Decisions::new()
        .value(
            "network_class_name",
            Decided::new(class_name, planner_source.clone(), "the network that this planner plans for"),
        )
        .object("arch_kwargs", kwargs)
        .value("_kw_requires_import", fixed(imported.into()))
}
