//! Why the plans are as they are: for each decision its value, and the fingerprint value and rule
//! that it follows from, in words.

use super::lowres::{COVERAGE, MINIMAL_REDUCTION};
use super::normalization_choice::MASK_THRESHOLD;
use super::patch_size::{MINIMAL_BATCH_SIZE, PatchPlan};
use super::planner::{DatasetFacts, Experiment, PlannerOptions};
use super::target_spacing::{ANISOTROPY_THRESHOLD, SpacingRule};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where the value stands in the plans, e.g. `3d_fullres.batch_size`.
    pub key: String,
    /// The value.
    pub value: String,
    /// What it follows from.
    pub reason: String,
}

/// Explains every decision of `experiment`, in the order in which they were made.
pub fn explain(facts: &DatasetFacts, options: &PlannerOptions, experiment: &Experiment) -> Vec<Explanation> {
    let mut all = vec![spacing(facts, experiment), transpose(options, experiment)];
    for (channel, name) in facts.channel_names.iter().enumerate() {
        all.extend(normalization(facts, experiment, channel, name));
    }
    match &experiment.plan_3d_fullres {
        Some(plan) => {
            all.extend(configuration("3d_fullres", facts, options, plan));
            all.push(lowres(plan, experiment.plan_3d_lowres.as_ref()));
        }
        None => all.push(Explanation {
            key: "configurations".to_owned(),
            value: "2d only".to_owned(),
            reason: "the median image has a single slice at the target spacing".to_owned(),
        }),
    }
    if let Some(plan) = &experiment.plan_3d_lowres {
        all.extend(configuration("3d_lowres", facts, options, plan));
    }
    all.extend(configuration("2d", facts, options, &experiment.plan_2d));
    all
}

fn spacing(facts: &DatasetFacts, experiment: &Experiment) -> Explanation {
    let cases = facts.fingerprint.spacings.len();
    let reason = match experiment.target_spacing.rule {
        SpacingRule::Given => "given by the user".to_owned(),
        SpacingRule::Median => format!("median spacing of the {cases} training cases"),
        SpacingRule::AnisotropicAxis { axis, raised } => {
            let end = if raised { ", raised to just above that of the other axes" } else { "" };
            format!(
                "median spacing of the {cases} training cases; axis {axis} is more than {ANISOTROPY_THRESHOLD} \
                 times coarser than the others and has less than a third of their voxels, so it takes the 10th \
                 percentile of its spacings{end}"
            )
        }
    };
    Explanation {
        key: "spacing of full resolution (z, y, x)".to_owned(),
        value: format!("{:?} mm", experiment.target_spacing.spacing),
        reason,
    }
}

fn transpose(options: &PlannerOptions, experiment: &Experiment) -> Explanation {
    let reason = if options.suppress_transpose {
        "the user asked to keep the order of the axes"
    } else {
        "the axis with the largest spacing comes first, so that slices have the highest resolution"
    };
    Explanation {
        key: "transpose_forward".to_owned(),
        value: format!("{:?}", experiment.transpose_forward),
        reason: reason.to_owned(),
    }
}

fn normalization(
    facts: &DatasetFacts,
    experiment: &Experiment,
    channel: usize,
    name: &str,
) -> [Explanation; 2] {
    let scheme = experiment.normalization_schemes[channel];
    let size = facts.fingerprint.median_relative_size_after_cropping;
    let because = match scheme {
        "ZScoreNormalization" if name.eq_ignore_ascii_case("zscore") => "asks for it",
        "ZScoreNormalization" => "asks for no other scheme",
        _ => "asks for it",
    };
    let mask = if scheme != "ZScoreNormalization" {
        format!("{scheme} never uses the nonzero mask")
    } else {
        let comparison = if size < MASK_THRESHOLD { "less than" } else { "at least" };
        format!("cropping to nonzero leaves {size:.3} of the median image, {comparison} {MASK_THRESHOLD}")
    };
    [
        Explanation {
            key: format!("normalization_schemes[{channel}]"),
            value: scheme.to_owned(),
            reason: format!("the channel's name {name:?} {because}"),
        },
        Explanation {
            key: format!("use_mask_for_norm[{channel}]"),
            value: experiment.use_mask_for_norm[channel].to_string(),
            reason: mask,
        },
    ]
}

fn configuration(
    name: &str,
    facts: &DatasetFacts,
    options: &PlannerOptions,
    plan: &PatchPlan,
) -> [Explanation; 3] {
    let memory = options.memory_gb();
    let cut = match plan.reductions {
        0 => format!("which fits {memory} GB as it is"),
        n => format!(
            "cut {n} times along the axis largest relative to the median image until {:.0} million feature map \
             elements fit {memory} GB",
            plan.elements as f64 / 1e6
        ),
    };
    let poolings: Vec<u32> = plan.topology.divisible_by.iter().map(|by| by.trailing_zeros()).collect();
    let part = 100.0 * options.preset.max_dataset_covered;
    let (memory_batch, coverage_batch) = (plan.batch_size_of_memory, plan.batch_size_of_coverage);
    let limit = if plan.batch_size == memory_batch {
        format!("the memory allows {memory_batch}")
    } else if plan.batch_size == coverage_batch {
        format!(
            "the memory allows {memory_batch}, but {coverage_batch} patches are {part} % of the voxels of all {} cases",
            facts.training_cases
        )
    } else {
        format!(
            "the smallest there is: the memory allows {memory_batch}, {part} % of all voxels {coverage_batch}, \
             the least is {MINIMAL_BATCH_SIZE}"
        )
    };
    [
        Explanation {
            key: format!("{name}.patch_size"),
            value: format!("{:?}", plan.topology.patch_size),
            reason: format!(
                "begins at {:?} voxels: the aspect ratio of the spacing {:?} mm, at most the median image {:?}; {cut}",
                plan.initial_patch_size, plan.spacing, plan.median_shape
            ),
        },
        Explanation {
            key: format!("{name}.architecture"),
            value: format!("{} stages, features {:?}", plan.topology.stages(), plan.features),
            reason: format!(
                "{poolings:?} poolings per axis: down to feature maps of 4 voxels, coarse axes only once the others \
                 have come within a factor of 2"
            ),
        },
        Explanation { key: format!("{name}.batch_size"), value: plan.batch_size.to_string(), reason: limit },
    ]
}

fn lowres(fullres: &PatchPlan, lowres: Option<&PatchPlan>) -> Explanation {
    let patch: f64 = fullres.topology.patch_size.iter().map(|&edge| edge as f64).product();
    let image: f64 = fullres.median_shape.iter().product();
    let seen = 100.0 * patch / image;
    let least = 100.0 * COVERAGE;
    let (value, reason) = match lowres {
        Some(plan) => (
            "3d_lowres and 3d_cascade_fullres",
            format!(
                "a full-resolution patch sees {seen:.1} % of the median image, less than {least} %: the spacing grows \
                 to {:.3?} mm, where a patch sees enough",
                plan.spacing
            ),
        ),
        None if patch / image < COVERAGE => (
            "no 3d_lowres",
            format!(
                "a full-resolution patch sees {seen:.1} % of the median image, but the spacing at which it sees \
                 {least} % makes images less than {MINIMAL_REDUCTION} times smaller"
            ),
        ),
        None => (
            "no 3d_lowres",
            format!("a full-resolution patch sees {seen:.1} % of the median image, at least {least} %"),
        ),
    };
    Explanation { key: "configurations".to_owned(), value: value.to_owned(), reason }
}
