//! Whether a dataset needs a low-resolution configuration, and at which spacing.
//!
//! Needed when a full-resolution patch sees less than a quarter of the median case. Then the
//! spacing grows in steps of 3 % (the finer axes first, until all are within a factor of two)
//! until a patch sees a quarter. Dropped again if that shrinks the images by less than two.

use super::decided::Decided;
use super::patch_size::{Limits, PatchPlan, plan_patch};

/// Part of the median case that a patch should see.
const COVERAGE: f64 = 0.25;
/// Factor on the spacing per step.
const STEP: f64 = 1.03;
/// Voxels of full resolution per voxel of low resolution below which it is not worth it.
const MINIMAL_REDUCTION: f64 = 2.0;

/// The low-resolution configuration for `fullres`, if the dataset needs one. The median shape of the result has whole
/// numbers.
pub fn plan_lowres(limits: &Limits<'_>, fullres: &PatchPlan) -> Decided<Option<PatchPlan>> {
    let fullres_voxels: f64 = fullres.median_shape.iter().product();
    let source = format!(
        "median image of {:?} voxels at the target spacing, patch of {:?}",
        fullres.median_shape, fullres.topology.patch_size
    );
    let (seen, least) = (100.0 * patch_voxels(fullres) / fullres_voxels, 100.0 * COVERAGE);
    let mut voxels = fullres_voxels;
    let mut patch_voxels = patch_voxels(fullres);
    let mut spacing = fullres.spacing.clone();
    let mut lowres = None;
    while patch_voxels / voxels < COVERAGE {
        let coarsest = spacing.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let much_finer: Vec<bool> = spacing.iter().map(|s| coarsest / s > 2.0).collect();
        let all = !much_finer.contains(&true);
        for (value, finer) in spacing.iter_mut().zip(&much_finer) {
            if all || *finer {
                *value *= STEP;
            }
        }
        let shape: Vec<f64> = fullres
            .spacing
            .iter()
            .zip(&spacing)
            .zip(&fullres.median_shape)
            .map(|((full, low), edge)| full / low * edge)
            .collect();
        voxels = shape.iter().product();
        let rounded: Vec<f64> = shape.iter().map(|edge| edge.round_ties_even()).collect();
        let plan = plan_patch(limits, &spacing, &rounded, voxels * limits.training_cases as f64);
        patch_voxels = self::patch_voxels(&plan);
        lowres = Some(plan);
    }
    match lowres {
        None => {
            let rule = format!(
                "no 3d_lowres: a full-resolution patch sees {seen:.1} % of the median image, at least {least} %"
            );
            Decided::new(None, source, rule)
        }
        Some(_) if fullres_voxels / voxels < MINIMAL_REDUCTION => {
            let rule = format!(
                "no 3d_lowres: a full-resolution patch sees {seen:.1} % of the median image, but the spacing at which it \
                 sees {least} % makes images less than {MINIMAL_REDUCTION} times smaller"
            );
            Decided::new(None, source, rule)
        }
        Some(lowres) => {
            let rule = format!(
                "a full-resolution patch sees {seen:.1} % of the median image, less than {least} %: 3d_lowres at \
                 {:.3?} mm, where a patch sees enough, and 3d_cascade_fullres after it",
                lowres.spacing
            );
            Decided::new(Some(lowres), source, rule)
        }
    }
}

/// Spacing and median image of the low-resolution configuration, each with the reason for it.
pub(super) fn decided_grid(lowres: &PatchPlan) -> (Decided<Vec<f64>>, Decided<Vec<usize>>) {
    let spacing = Decided::new(
        lowres.spacing.clone(),
        "spacing of 3d_fullres",
        format!(
            "grown in steps of 3 %, finer axes first, until a patch sees {} % of the median image",
            100.0 * COVERAGE
        ),
    );
    let median_shape = Decided::new(
        lowres.median_shape.iter().map(|&edge| edge as usize).collect(),
        "median image and spacing of 3d_fullres; spacing",
        "scaled with the spacing and rounded",
    );
    (spacing, median_shape)
}

fn patch_voxels(plan: &PatchPlan) -> f64 {
    plan.topology.patch_size.iter().map(|&edge| edge as f64).product()
}
