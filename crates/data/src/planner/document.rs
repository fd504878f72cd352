//! What the built-in planners decide, in the words of nnUNetPlans.json: keys and their order as in the reference, each
//! value with the reason for it.

use nnunet_graph::architectures::Architecture;
use nnunet_pyformats::json::Json;

use super::architecture::architecture;
use super::decided::{Decided, Decisions};
use super::experiment::Experiment;
use super::facts::DatasetFacts;
use super::lowres::decided_grid;
use super::options::PlannerOptions;
use super::patch_size::PatchPlan;
use super::preset::PlannerPreset;

/// The content of a plans file.
pub(super) fn decisions(
    facts: &DatasetFacts,
    preset: &PlannerPreset,
    network: &dyn Architecture,
    options: &PlannerOptions,
    experiment: &Experiment,
) -> Decisions {
    let forward = experiment.transpose_forward.value;
    let name = options.planner.as_str();
    let plans_name = options.overwrite_plans_name.as_deref().unwrap_or(preset.plans_name);
    Decisions::new()
        .value("dataset_name", facts.decided_name())
        .value(
            "plans_name",
            Decided::new(
                plans_name,
                "option overwrite_plans_name, or the planner",
                format!("{name} calls its plans {}", preset.plans_name),
            ),
        )
        .value("original_median_spacing_after_transp", facts.decided_median_spacing(forward))
        .value("original_median_shape_after_transp", facts.decided_median_shape(forward))
        .value("image_reader_writer", facts.decided_reader())
        .value("transpose_forward", experiment.transpose_forward.clone())
        .value("transpose_backward", decided_inverse(experiment.transpose_backward))
        .choice("configurations", configurations(facts, preset, network, options, experiment, plans_name))
        .value("experiment_planner_used", decided_planner(name))
        .value("label_manager", Decided::new("LabelManager", "no value", "there is one"))
        .value("foreground_intensity_properties_per_channel", facts.decided_intensities())
}

/// `transpose_backward` of the plans.
pub(crate) fn decided_inverse(transpose_backward: [usize; 3]) -> Decided<[usize; 3]> {
    Decided::new(transpose_backward, "transpose_forward", "its inverse")
}

/// `experiment_planner_used` of the plans.
pub(crate) fn decided_planner(name: &str) -> Decided<String> {
    Decided::new(name.to_owned(), "option planner", "the planner that the user named, else ExperimentPlanner")
}

fn configurations(
    facts: &DatasetFacts,
    preset: &PlannerPreset,
    network: &dyn Architecture,
    options: &PlannerOptions,
    experiment: &Experiment,
    plans_name: &str,
) -> Decided<Decisions> {
    let render = |name: &str, grid: Grid, plan: &PatchPlan, batch_dice: bool| {
        let folder = data_identifier(preset, plans_name, name);
        configuration(folder, grid, preset, network, options, experiment, plan).value(
            "batch_dice",
            Decided::new(
                batch_dice,
                "the configuration",
                "true for 2d and where a cascade's 3d_fullres follows 3d_lowres, false for other 3-D configurations",
            ),
        )
    };
    let stages = |value: &'static str, rule: &str| Decided::new(value, "the configurations", rule);
    let full_grid = |plan: &PatchPlan, spacing: Decided<Vec<f64>>| {
        let median_shape = Decided::new(
            plan.median_shape.clone().into(),
            "fingerprint: spacings, shapes_after_crop; spacing",
            "median over the cases of round(shape * spacing of the case / spacing)",
        );
        Grid { spacing, median_shape }
    };
    experiment.plan_3d_lowres.clone().map(|lowres| {
        let plan = &experiment.plan_2d;
        let in_plane = Decided::new(
            plan.spacing.clone(),
            "target spacing of full resolution",
            "without the first axis: slices keep their distance",
        );
        let mut all = Decisions::new().object("2d", render("2d", full_grid(plan, in_plane), plan, true));
        if let Some(plan) = &lowres {
            let (spacing, median_shape) = decided_grid(plan);
            let grid = Grid { spacing, median_shape: median_shape.map(Into::into) };
            let entries = render("3d_lowres", grid, plan, false).value(
                "next_stage",
                stages("3d_cascade_fullres", "3d_cascade_fullres goes on where 3d_lowres ends"),
            );
            all = all.object("3d_lowres", entries);
        }
        if let Some(plan) = &experiment.plan_3d_fullres {
            let target = experiment.target_spacing.decided(facts.fingerprint.spacings.len());
            let grid = full_grid(plan, target.map(|_| plan.spacing.clone()));
            all = all.object("3d_fullres", render("3d_fullres", grid, plan, lowres.is_some()));
            if lowres.is_some() {
                let cascade = Decisions::new()
                    .value(
                        "inherits_from",
                        stages("3d_fullres", "3d_cascade_fullres is 3d_fullres with another input"),
                    )
                    .value(
                        "previous_stage",
                        stages("3d_lowres", "the segmentation of 3d_lowres is an additional input"),
                    );
                all = all.object("3d_cascade_fullres", cascade);
            }
        }
        all
    })
}

/// The grid that images of a configuration are resampled to.
struct Grid {
    spacing: Decided<Vec<f64>>,
    median_shape: Decided<Json>,
}

fn data_identifier(preset: &PlannerPreset, plans_name: &str, configuration: &str) -> Decided<String> {
    let rule = if preset.shares_default_data && configuration != "3d_lowres" {
        "the default plans' folder: their data is the same"
    } else {
        "its name and the configuration's"
    };
    Decided::new(preset.data_identifier(plans_name, configuration), "plans_name", rule)
}

fn configuration(
    folder: Decided<String>,
    grid: Grid,
    preset: &PlannerPreset,
    network: &dyn Architecture,
    options: &PlannerOptions,
    experiment: &Experiment,
    plan: &PatchPlan,
) -> Decisions {
    let (function, [of_data, of_seg, of_probabilities]) = preset.resampling.functions();
    let resampling = |value: Json| {
        Decided::new(value, format!("planner {}", options.planner), preset.resampling.description())
    };
    Decisions::new()
        .value("data_identifier", folder)
        .value(
            "preprocessor_name",
            Decided::new(
                options.preprocessor_name.as_str(),
                "option preprocessor_name",
                "DefaultPreprocessor unless the user says otherwise",
            ),
        )
        .value("batch_size", plan.batch_size.clone().map(|size| size as usize))
        .value("patch_size", plan.decided_patch_size())
        .value("median_image_size_in_voxels", grid.median_shape)
        .value("spacing", grid.spacing)
        .value("normalization_schemes", experiment.normalization_schemes.clone())
        .value("use_mask_for_norm", experiment.use_mask_for_norm.clone())
        .value("resampling_fn_data", resampling(function.into()))
        .value("resampling_fn_seg", resampling(function.into()))
        .value("resampling_fn_data_kwargs", resampling(of_data))
        .value("resampling_fn_seg_kwargs", resampling(of_seg))
        .value("resampling_fn_probabilities", resampling(function.into()))
        .value("resampling_fn_probabilities_kwargs", resampling(of_probabilities))
        .object("architecture", architecture(preset, network, &options.planner, plan))
}
