//! What each value of the plans follows from, and how, in words.

use super::lowres::{COVERAGE, MINIMAL_REDUCTION};
use super::normalization_choice::MASK_THRESHOLD;
use super::patch_size::{BASE_FEATURES, MAX_FEATURES_2D, MAX_FEATURES_3D, MINIMAL_BATCH_SIZE, PatchPlan};
use super::planner::{DatasetFacts, Experiment, PlannerOptions};
use super::preset::{NetworkFamily, ResamplingFamily};
use super::target_spacing::{ANISOTROPY_THRESHOLD, SpacingRule};
use super::topology::MINIMAL_EDGE;

/// Values outside of the configurations that every planner makes alike.
const PLANNER_INDEPENDENT: [&str; 7] = [
    "dataset_name",
    "original_median_spacing_after_transp",
    "original_median_shape_after_transp",
    "image_reader_writer",
    "transpose_backward",
    "experiment_planner_used",
    "foreground_intensity_properties_per_channel",
];

/// What a value follows from, and how.
pub(super) struct Reason {
    pub(super) source: String,
    pub(super) rule: String,
}

fn reason(source: impl Into<String>, rule: impl Into<String>) -> Reason {
    Reason { source: source.into(), rule: rule.into() }
}

/// The reasons for one experiment.
pub(super) struct Reasons<'a> {
    pub(super) facts: &'a DatasetFacts,
    pub(super) options: &'a PlannerOptions,
    pub(super) experiment: &'a Experiment,
    /// The planner of the plans, if it is not that of the options.
    pub(super) unknown_planner: Option<&'a str>,
}

impl Reasons<'_> {
    /// For a value that follows from the rules of a planner that is not known.
    fn unknown(planner: &str) -> Reason {
        reason(
            format!("planner {planner}"),
            "not known: this planner is not built in, so its rules cannot be named",
        )
    }

    /// For a value outside of the configurations.
    pub(super) fn plans(&self, key: &str) -> Reason {
        if let Some(planner) = self.unknown_planner
            && !PLANNER_INDEPENDENT.contains(&key)
        {
            return Self::unknown(planner);
        }
        let experiment = self.experiment;
        let cases = self.facts.fingerprint.spacings.len();
        match key {
            "dataset_name" => reason("the dataset's folder", "its name"),
            "plans_name" => reason(
                "-overwrite_plans_name, or the planner",
                format!("{} calls its plans {}", self.options.preset.name, self.options.preset.plans_name),
            ),
            "original_median_spacing_after_transp" => reason(
                format!("fingerprint: spacings of {cases} cases"),
                "median of each axis in mm, axes in the order of transpose_forward",
            ),
            "original_median_shape_after_transp" => reason(
                format!("fingerprint: shapes_after_crop of {cases} cases"),
                "median of each axis in voxels, axes in the order of transpose_forward",
            ),
            "image_reader_writer" => reason(
                "dataset.json: overwrite_image_reader_writer, file_ending; the first training image",
                "the reader that is asked for, else the first that reads the ending and the image",
            ),
            "transpose_forward" => reason(
                format!("target spacing {:?} mm (z, y, x)", experiment.target_spacing.spacing),
                if self.options.suppress_transpose {
                    "kept as the images have it, as the user asked"
                } else {
                    "the axis with the largest spacing comes first, so that slices have the highest resolution"
                },
            ),
            "transpose_backward" => reason("transpose_forward", "its inverse"),
            "experiment_planner_used" => {
                reason("the user's choice", "ExperimentPlanner unless -pl names another")
            }
            "label_manager" => reason("no value", "there is one"),
            "foreground_intensity_properties_per_channel" => {
                reason("fingerprint: the entry of the same name", "copied; normalisation uses it")
            }
            _ => reason("not from the planner", "added to the file; planning again drops it"),
        }
    }

    /// Which configurations there are.
    pub(super) fn configurations(&self) -> Reason {
        if let Some(planner) = self.unknown_planner {
            return Self::unknown(planner);
        }
        let Some(fullres) = &self.experiment.plan_3d_fullres else {
            return reason(
                format!("median image of {:?} voxels at the target spacing", self.experiment.median_shape),
                "2d only: the median image has a single slice",
            );
        };
        let patch: f64 = fullres.topology.patch_size.iter().map(|&edge| edge as f64).product();
        let image: f64 = fullres.median_shape.iter().product();
        let (seen, least) = (100.0 * patch / image, 100.0 * COVERAGE);
        let source = format!(
            "median image of {:?} voxels at the target spacing, patch of {:?}",
            fullres.median_shape, fullres.topology.patch_size
        );
        let rule = match &self.experiment.plan_3d_lowres {
            Some(lowres) => format!(
                "a full-resolution patch sees {seen:.1} % of the median image, less than {least} %: 3d_lowres at \
                 {:.3?} mm, where a patch sees enough, and 3d_cascade_fullres after it",
                lowres.spacing
            ),
            None if patch / image < COVERAGE => format!(
                "no 3d_lowres: a full-resolution patch sees {seen:.1} % of the median image, but the spacing at which \
                 it sees {least} % makes images less than {MINIMAL_REDUCTION} times smaller"
            ),
            None => format!(
                "no 3d_lowres: a full-resolution patch sees {seen:.1} % of the median image, at least {least} %"
            ),
        };
        reason(source, rule)
    }

    /// For `key` of the configuration `name` or of its architecture; `planned` says whether the planner makes this
    /// configuration.
    pub(super) fn configuration(&self, name: &str, key: &str, planned: bool) -> Reason {
        if let Some(planner) = self.unknown_planner {
            return Self::unknown(planner);
        }
        if !planned {
            return reason("not from the planner", "added to the file; planning again keeps it");
        }
        let plan = match name {
            "2d" => Some(&self.experiment.plan_2d),
            "3d_fullres" => self.experiment.plan_3d_fullres.as_ref(),
            "3d_lowres" => self.experiment.plan_3d_lowres.as_ref(),
            _ => None,
        };
        match plan.and_then(|plan| self.patch_value(plan, key)) {
            Some(reason) => reason,
            None => self.common_value(name, plan, key),
        }
    }

    /// Values that were found together with the patch.
    fn patch_value(&self, plan: &PatchPlan, key: &str) -> Option<Reason> {
        let geometry = format!("spacing {:?} mm, median image {:?} voxels", plan.spacing, plan.median_shape);
        let stages = plan.topology.stages();
        Some(match key {
            "patch_size" => {
                let memory = self.options.memory_gb();
                let cut = match plan.reductions {
                    0 => format!("fits {memory} GB as it is"),
                    n => format!(
                        "cut {n} times along the axis largest relative to the median image until {:.0} million \
                         feature map elements fit {memory} GB",
                        plan.elements as f64 / 1e6
                    ),
                };
                let by = &plan.topology.divisible_by;
                reason(
                    geometry,
                    format!(
                        "begins at {:?} voxels: the aspect ratio of the spacing, at most the median image; {cut}; a \
                         multiple of {by:?} because of the poolings",
                        plan.initial_patch_size
                    ),
                )
            }
            "batch_size" => self.batch_size(plan),
            "n_stages" | "strides" | "kernel_sizes" => {
                let poolings: Vec<u32> =
                    plan.topology.divisible_by.iter().map(|by| by.trailing_zeros()).collect();
                reason(
                    format!("patch_size {:?}, spacing {:?} mm", plan.topology.patch_size, plan.spacing),
                    format!(
                        "{stages} stages with {poolings:?} poolings per axis: down to feature maps of {MINIMAL_EDGE} \
                         voxels; an axis is pooled, and has kernels of 3 instead of 1, once its spacing is within a \
                         factor of 2 of the finest"
                    ),
                )
            }
            "features_per_stage" => {
                let most = if plan.spacing.len() == 2 { MAX_FEATURES_2D } else { MAX_FEATURES_3D };
                let rule = format!("{BASE_FEATURES}, doubled with each stage, at most {most}");
                reason(format!("n_stages {stages}"), rule)
            }
            "n_conv_per_stage" | "n_blocks_per_stage" | "n_conv_per_stage_decoder" => {
                reason(format!("n_stages {stages}"), format!("fixed by {}", self.options.preset.name))
            }
            "spacing" if plan.spacing.len() == 2 => reason(
                "target spacing of full resolution",
                "without the first axis: slices keep their distance",
            ),
            "spacing" if self.is_lowres(plan) => reason(
                "spacing of 3d_fullres",
                format!(
                    "grown in steps of 3 %, finer axes first, until a patch sees {} % of the median image",
                    100.0 * COVERAGE
                ),
            ),
            "spacing" => self.full_resolution(),
            "median_image_size_in_voxels" if self.is_lowres(plan) => reason(
                "median image and spacing of 3d_fullres; spacing",
                "scaled with the spacing and rounded",
            ),
            "median_image_size_in_voxels" => reason(
                "fingerprint: spacings, shapes_after_crop; spacing",
                "median over the cases of round(shape * spacing of the case / spacing)",
            ),
            _ => return None,
        })
    }

    fn is_lowres(&self, plan: &PatchPlan) -> bool {
        self.experiment.plan_3d_lowres.as_ref().is_some_and(|lowres| std::ptr::eq(lowres, plan))
    }

    fn full_resolution(&self) -> Reason {
        let cases = self.facts.fingerprint.spacings.len();
        let source = format!("fingerprint: spacings and shapes_after_crop of {cases} cases");
        match self.experiment.target_spacing.rule {
            SpacingRule::Given => reason("-overwrite_target_spacing", "given by the user"),
            SpacingRule::Median => {
                reason(source, "median of each axis, axes in the order of transpose_forward")
            }
            SpacingRule::AnisotropicAxis { axis, raised } => {
                let end = if raised { ", raised to just above that of the other axes" } else { "" };
                reason(
                    source,
                    format!(
                        "median of each axis; axis {axis} of the images is more than {ANISOTROPY_THRESHOLD} times \
                         coarser than the others and has less than a third of their voxels, so it takes the 10th \
                         percentile of its spacings{end}"
                    ),
                )
            }
        }
    }

    fn batch_size(&self, plan: &PatchPlan) -> Reason {
        let part = 100.0 * self.options.preset.max_dataset_covered;
        let cases = self.facts.training_cases;
        let (of_memory, of_coverage) = (plan.batch_size_of_memory, plan.batch_size_of_coverage);
        let rule = if plan.batch_size == of_memory {
            format!("the memory allows {of_memory}")
        } else if plan.batch_size == of_coverage {
            format!(
                "the memory allows {of_memory}, but {of_coverage} patches are {part} % of the voxels of all {cases} cases"
            )
        } else {
            format!(
                "the smallest there is: the memory allows {of_memory}, {part} % of all voxels {of_coverage}, the least \
                 is {MINIMAL_BATCH_SIZE}"
            )
        };
        let memory = self.options.memory_gb();
        reason(format!("patch_size, {memory} GB, dataset.json: numTraining {cases}"), rule)
    }

    /// Values that do not follow from the patch.
    fn common_value(&self, name: &str, plan: Option<&PatchPlan>, key: &str) -> Reason {
        let preset = self.options.preset;
        match key {
            "data_identifier" => reason(
                "plans_name",
                if preset.shares_default_data && name != "3d_lowres" {
                    "the default plans' folder: their data is the same"
                } else {
                    "its name and the configuration's"
                },
            ),
            "preprocessor_name" => {
                reason("-preprocessor_name", "DefaultPreprocessor unless the user says otherwise")
            }
            "normalization_schemes" => reason(
                format!("dataset.json: channel_names {:?}", self.facts.channel_names),
                "the scheme that the channel's name asks for (CT, noNorm, rescale_to_0_1, rgb_to_0_1), else z-score",
            ),
            "use_mask_for_norm" => {
                let size = self.facts.fingerprint.median_relative_size_after_cropping;
                let comparison = if size < MASK_THRESHOLD { "less than" } else { "at least" };
                reason(
                    format!("fingerprint: median_relative_size_after_cropping {size:.3}"),
                    format!(
                        "{comparison} {MASK_THRESHOLD}; only z-score uses the nonzero mask, and only below that"
                    ),
                )
            }
            "resampling_fn_data"
            | "resampling_fn_seg"
            | "resampling_fn_probabilities"
            | "resampling_fn_data_kwargs"
            | "resampling_fn_seg_kwargs"
            | "resampling_fn_probabilities_kwargs" => reason(
                format!("planner {}", preset.name),
                match preset.resampling {
                    ResamplingFamily::Spline => {
                        "cubic splines for images, linear for labels and probabilities, a coarse axis on its own"
                    }
                    ResamplingFamily::Torch => "PyTorch's linear interpolation of all axes at once",
                    ResamplingFamily::TorchSeparateAxis => {
                        "PyTorch's linear interpolation, a coarse axis on its own"
                    }
                    ResamplingFamily::Unchanged => "every image keeps its grid",
                },
            ),
            "network_class_name" => reason(
                format!("planner {}", preset.name),
                match preset.family {
                    NetworkFamily::PlainConvUNet => "plans for plain U-Nets",
                    NetworkFamily::ResidualEncoderUNet => "plans for U-Nets with residual encoders",
                },
            ),
            "conv_op" | "norm_op" => reason(
                format!("{} axes of patch_size", plan.map_or(3, |plan| plan.spacing.len())),
                "the operation for as many axes",
            ),
            "conv_bias"
            | "norm_op_kwargs"
            | "dropout_op"
            | "dropout_op_kwargs"
            | "nonlin"
            | "nonlin_kwargs"
            | "_kw_requires_import" => reason(format!("planner {}", preset.name), "fixed"),
            "batch_dice" => reason(
                "the configuration",
                "true for 2d and where a cascade's 3d_fullres follows 3d_lowres, false for other 3-D configurations",
            ),
            "next_stage" => reason("the configurations", "3d_cascade_fullres goes on where 3d_lowres ends"),
            "inherits_from" => {
                reason("the configurations", "3d_cascade_fullres is 3d_fullres with another input")
            }
            "previous_stage" => {
                reason("the configurations", "the segmentation of 3d_lowres is an additional input")
            }
            _ => reason("not from the planner", "added to the file; planning again drops it"),
        }
    }
}
