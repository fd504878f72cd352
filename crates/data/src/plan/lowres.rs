//! Whether a dataset needs a low-resolution configuration, and at which spacing.
//!
//! Needed when a full-resolution patch sees less than a quarter of the median case. Then the
//! spacing grows in steps of 3 % (the finer axes first, until all are within a factor of two)
//! until a patch sees a quarter. Dropped again if that shrinks the images by less than two.

use super::patch_size::{Limits, PatchPlan, plan_patch};

/// Part of the median case that a patch should see.
pub(super) const COVERAGE: f64 = 0.25;
/// Factor on the spacing per step.
const STEP: f64 = 1.03;
/// Voxels of full resolution per voxel of low resolution below which it is not worth it.
pub(super) const MINIMAL_REDUCTION: f64 = 2.0;

/// The low-resolution configuration for `fullres`, if the dataset needs one. `dataset_cases` is the
/// number of training cases. The median shape of the result has whole numbers.
pub fn plan_lowres(limits: &Limits<'_>, fullres: &PatchPlan, dataset_cases: usize) -> Option<PatchPlan> {
    let fullres_voxels: f64 = fullres.median_shape.iter().product();
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
        let plan = plan_patch(limits, &spacing, &rounded, voxels * dataset_cases as f64);
        patch_voxels = self::patch_voxels(&plan);
        lowres = Some(plan);
    }
    if fullres_voxels / voxels < MINIMAL_REDUCTION { None } else { lowres }
}

fn patch_voxels(plan: &PatchPlan) -> f64 {
    plan.topology.patch_size.iter().map(|&edge| edge as f64).product()
}
