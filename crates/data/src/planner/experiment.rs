//! All decisions of the built-in planners for a dataset, as numbers.
//!
//! Arrays (z, y, x), spacings in mm. Source: the reference's planners, exact (numbers to rounding).

use nnunet_graph::architectures::Architecture;
use nnunet_volume::SpacingMm;

use crate::fingerprint::Fingerprint;

use super::decided::Decided;
use super::error::PlanError;
use super::facts::{DatasetFacts, axis_medians};
use super::lowres::plan_lowres;
use super::normalization_choice::{decided_mask, decided_schemes};
use super::options::PlannerOptions;
use super::patch_size::{Limits, PatchPlan, plan_patch};
use super::preset::PlannerPreset;
use super::target_spacing::{
    SpacingRule, TargetSpacing, resampled_shape, target_spacing, transpose_orders, transposed,
};

/// Everything that was decided for a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Target spacing of full resolution before the axes are transposed.
    pub target_spacing: TargetSpacing,
    /// Axis order of the network.
    pub transpose_forward: Decided<[usize; 3]>,
    /// The way back.
    pub transpose_backward: [usize; 3],
    /// Median shape of the resampled dataset in voxels, axes transposed.
    pub median_shape: [f64; 3],
    /// Normalisation scheme per channel.
    pub normalization_schemes: Decided<Vec<String>>,
    /// Whether the nonzero mask limits the normalisation, per channel.
    pub use_mask_for_norm: Decided<Vec<bool>>,
    /// The 2D configuration.
    pub plan_2d: PatchPlan,
    /// The 3D configuration at full resolution; absent for 2D datasets.
    pub plan_3d_fullres: Option<PatchPlan>,
    /// The 3D configuration at low resolution, where one is needed.
    pub plan_3d_lowres: Decided<Option<PatchPlan>>,
}

/// Makes all decisions for a dataset as `preset` does for networks of `architecture`.
///
/// # Errors
/// A dataset that cannot be planned.
pub fn plan_experiment(
    facts: &DatasetFacts,
    preset: &PlannerPreset,
    architecture: &dyn Architecture,
    options: &PlannerOptions,
) -> Result<Experiment, PlanError> {
    facts.check()?;
    options.check_values()?;
    let Fingerprint { spacings, shapes_after_crop, median_relative_size_after_cropping, .. } =
        &facts.fingerprint;
    let limits = Limits {
        preset,
        architecture,
        memory_gb: options.gpu_memory_target_gb.unwrap_or(preset.memory_target_gb),
        output_channels: facts.label_entries,
        training_cases: facts.training_cases,
    };

    let target = match options.overwrite_target_spacing {
        Some(spacing) => TargetSpacing { spacing, rule: SpacingRule::Given },
        None => target_spacing(spacings, shapes_after_crop),
    };
    let (transpose_forward, transpose_backward) = axis_orders(target.spacing, options.suppress_transpose);
    let forward = transpose_forward.value;
    let spacing = transposed(target.spacing, forward);

    let resampled: Vec<[usize; 3]> = spacings
        .iter()
        .zip(shapes_after_crop)
        .map(|(&old, &shape)| resampled_shape(shape, SpacingMm::new(old), SpacingMm::new(target.spacing)))
        .collect();
    let median_shape = transposed(axis_medians(&resampled, |shape, axis| shape[axis] as f64), forward);
    if let Some(axis) = median_shape.iter().position(|&edge| edge < 1.0) {
        return Err(PlanError::BadFingerprint {
            problem: format!(
                "the median image would have {median_shape:?} voxels at the target spacing {spacing:?} mm; \
                 expected at least one along axis {axis}: choose a finer target spacing"
            ),
        });
    }
    let dataset_voxels = median_shape.iter().product::<f64>() * facts.training_cases as f64;

    let (plan_3d_fullres, plan_3d_lowres) = if median_shape[0] == 1.0 {
        let source = format!("median image of {median_shape:?} voxels at the target spacing");
        (None, Decided::new(None, source, "2d only: the median image has a single slice"))
    } else {
        let fullres = plan_patch(&limits, &spacing, &median_shape, dataset_voxels);
        let lowres = plan_lowres(&limits, &fullres);
        (Some(fullres), lowres)
    };
    let plan_2d = plan_patch(&limits, &spacing[1..], &median_shape[1..], dataset_voxels);

    let normalization_schemes = decided_schemes(&facts.channels);
    let use_mask_for_norm = decided_mask(&facts.channels, *median_relative_size_after_cropping);
    Ok(Experiment {
        target_spacing: target,
        transpose_forward,
        transpose_backward,
        median_shape,
        normalization_schemes,
        use_mask_for_norm,
        plan_2d,
        plan_3d_fullres,
        plan_3d_lowres,
    })
}

/// The order of the network's axes for a target spacing (z, y, x) in mm, and the way back.
fn axis_orders(spacing: [f64; 3], suppress_transpose: bool) -> (Decided<[usize; 3]>, [usize; 3]) {
    let source = format!("target spacing {spacing:?} mm (z, y, x)");
    if suppress_transpose {
        let rule = "kept as the images have it, as the user asked";
        return (Decided::new([0, 1, 2], source, rule), [0, 1, 2]);
    }
    let (forward, backward) = transpose_orders(spacing);
    let rule = "the axis with the largest spacing comes first, so that slices have the highest resolution";
    (Decided::new(forward, source, rule), backward)
}
