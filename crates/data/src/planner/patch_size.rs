//! Patch size, topology and batch size of one configuration.
//!
//! The patch begins as large as sensible (the volume of 256^3 or 2048^2 voxels in the aspect ratio
//! of the spacing, cut to the median shape) and is cut, along the axis that is largest relative to
//! the median shape, until the network fits the memory; what is left over raises the batch size.
//! Source: the reference's behaviour, exact.

use super::decided::Decided;
use super::preset::PlannerPreset;
use super::topology::{MINIMAL_EDGE, Topology, topology};
use nnunet_graph::architectures::{Architecture, PlannedUNet};

/// Features of the first stage.
const BASE_FEATURES: usize = 32;
/// Most features of a stage, 2D.
const MAX_FEATURES_2D: usize = 512;
/// Most features of a stage, 3D.
const MAX_FEATURES_3D: usize = 320;
/// Smallest batch.
const MINIMAL_BATCH_SIZE: u64 = 2;

/// What limits patch and batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The planner.
    pub preset: &'a PlannerPreset,
    /// The architecture that it plans for.
    pub architecture: &'a dyn Architecture,
    /// GPU memory in GB that a batch may need.
    pub memory_gb: f64,
    /// Entries of the dataset's labels, background, regions and ignore included.
    pub output_channels: usize,
    /// Number of training cases.
    pub training_cases: usize,
}

/// Patch, network and batch of one configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPlan {
    /// Target spacing in mm.
    pub spacing: Vec<f64>,
    /// Median shape of the resampled dataset in voxels.
    pub median_shape: Vec<f64>,
    /// Where the search began, in voxels.
    pub initial_patch_size: Vec<f64>,
    /// Poolings, kernels, final patch size.
    pub topology: Topology,
    /// Features per stage.
    pub features: Vec<usize>,
    /// Times the patch was cut.
    pub reductions: usize,
    /// Elements of all feature maps for one patch.
    pub elements: u64,
    /// Elements of feature maps that fit.
    pub budget: f64,
    /// The batch size.
    pub batch_size: Decided<u64>,
    /// GPU memory in GB that a batch may need.
    pub memory_gb: f64,
}

impl PatchPlan {
    /// The patch size in voxels with the reason for it.
    pub fn decided_patch_size(&self) -> Decided<Vec<usize>> {
        let Self { spacing, median_shape, topology, memory_gb: memory, .. } = self;
        let cut = match self.reductions {
            0 => format!("fits {memory} GB as it is"),
            n => format!(
                "cut {n} times along the axis largest relative to the median image until {:.0} million feature map \
                 elements fit {memory} GB",
                self.elements as f64 / 1e6
            ),
        };
        Decided::new(
            topology.patch_size.clone(),
            format!("spacing {spacing:?} mm, median image {median_shape:?} voxels"),
            format!(
                "begins at {:?} voxels: the aspect ratio of the spacing, at most the median image; {cut}; a multiple of \
                 {:?} because of the poolings",
                self.initial_patch_size, topology.divisible_by
            ),
        )
    }

    /// Features per stage with the reason for them.
    pub fn decided_features(&self) -> Decided<Vec<usize>> {
        Decided::new(
            self.features.clone(),
            format!("n_stages {}", self.topology.stages()),
            format!(
                "{BASE_FEATURES}, doubled with each stage, at most {}",
                most_features(self.spacing.len())
            ),
        )
    }
}

/// Plans patch and batch for `spacing` (mm) and `median_shape` (voxels), two or three axes each, of
/// a dataset with `dataset_voxels` voxels in all.
pub fn plan_patch(
    limits: &Limits<'_>,
    spacing: &[f64],
    median_shape: &[f64],
    dataset_voxels: f64,
) -> PatchPlan {
    let dimensions = spacing.len();
    let initial_patch_size = initial_patch_size(spacing, median_shape);
    let reference_batch_size = PlannerPreset::reference_batch_size(dimensions);
    let budget = limits.preset.element_budget(dimensions, limits.memory_gb);
    let too_large = |elements: u64| {
        let elements = elements as f64;
        if limits.preset.shrink_for_batch_of_two {
            elements / reference_batch_size * 2.0 > budget
        } else {
            elements > budget
        }
    };

    let mut current = topology(spacing, &initial_patch_size, MINIMAL_EDGE);
    let mut elements = estimate(limits, &current);
    let mut reductions = 0;
    while too_large(elements) {
        let axis = axis_to_reduce(&current.patch_size, median_shape);
        // Cutting by the divisor of the present patch could skip valid sizes: the divisor of the
        // patch that results is the step.
        let mut shorter = current.patch_size.clone();
        shorter[axis] = shorter[axis].saturating_sub(current.divisible_by[axis]);
        let step = topology(spacing, &as_f64(&shorter), MINIMAL_EDGE).divisible_by[axis];
        let mut patch_size = current.patch_size.clone();
        if patch_size[axis] <= step {
            // The budget is below that of the smallest network: keep the smallest patch.
            break;
        }
        patch_size[axis] -= step;
        current = topology(spacing, &as_f64(&patch_size), MINIMAL_EDGE);
        elements = estimate(limits, &current);
        reductions += 1;
    }

    let patch_voxels: f64 = current.patch_size.iter().map(|&v| v as f64).product();
    let batch_size_of_memory = (budget / elements as f64 * reference_batch_size).round_ties_even() as u64;
    let batch_size_of_coverage =
        (dataset_voxels * limits.preset.max_dataset_covered / patch_voxels).round_ties_even() as u64;
    PatchPlan {
        spacing: spacing.to_vec(),
        median_shape: median_shape.to_vec(),
        initial_patch_size,
        features: features(current.stages(), dimensions),
        topology: current,
        reductions,
        elements,
        budget,
        batch_size: batch_size(limits, batch_size_of_memory, batch_size_of_coverage),
        memory_gb: limits.memory_gb,
    }
}

/// The batch size of which memory and the dataset allow so much.
fn batch_size(limits: &Limits<'_>, of_memory: u64, of_coverage: u64) -> Decided<u64> {
    let Limits { memory_gb: memory, training_cases: cases, .. } = limits;
    let part = 100.0 * limits.preset.max_dataset_covered;
    let allowed = of_memory.min(of_coverage);
    let rule = if allowed < MINIMAL_BATCH_SIZE {
        format!(
            "the smallest there is: the memory allows {of_memory}, {part} % of all voxels {of_coverage}, the least is \
             {MINIMAL_BATCH_SIZE}"
        )
    } else if of_memory <= of_coverage {
        format!("the memory allows {of_memory}")
    } else {
        format!(
            "the memory allows {of_memory}, but {of_coverage} patches are {part} % of the voxels of all {cases} cases"
        )
    };
    let source = format!("patch_size, {memory} GB, dataset.json: numTraining {cases}");
    Decided::new(allowed.max(MINIMAL_BATCH_SIZE), source, rule)
}

fn initial_patch_size(spacing: &[f64], median_shape: &[f64]) -> Vec<f64> {
    let inverse: Vec<f64> = spacing.iter().map(|s| 1.0 / s).collect();
    let product: f64 = inverse.iter().product();
    let scale = if spacing.len() == 3 {
        (256f64.powi(3) / product).powf(1.0 / 3.0)
    } else {
        (2048f64.powi(2) / product).powf(0.5)
    };
    inverse.iter().zip(median_shape).map(|(i, &median)| (i * scale).round_ties_even().min(median)).collect()
}

/// The axis that is largest relative to the median shape; the last one of several.
fn axis_to_reduce(patch_size: &[usize], median_shape: &[f64]) -> usize {
    let ratio = |axis: usize| patch_size[axis] as f64 / median_shape[axis];
    (1..patch_size.len()).fold(0, |best, axis| if ratio(axis) >= ratio(best) { axis } else { best })
}

fn features(stages: usize, dimensions: usize) -> Vec<usize> {
    let most = most_features(dimensions);
    (0..stages).map(|stage| most.min(BASE_FEATURES << stage.min(8))).collect()
}

fn most_features(dimensions: usize) -> usize {
    if dimensions == 2 { MAX_FEATURES_2D } else { MAX_FEATURES_3D }
}

fn estimate(limits: &Limits<'_>, topology: &Topology) -> u64 {
    let stages = topology.stages();
    let network = PlannedUNet {
        features: &features(stages, topology.patch_size.len()),
        strides: &topology.strides,
        encoder_blocks: &limits.preset.encoder_blocks(stages),
        decoder_convolutions: &limits.preset.decoder_convolutions(stages),
        output_channels: limits.output_channels,
    };
    limits.architecture.feature_map_elements(&network, &topology.patch_size)
}

fn as_f64(values: &[usize]) -> Vec<f64> {
    values.iter().map(|&v| v as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::preset::{DEFAULT, TORCHRES};
    use crate::planner::residual::{RESENC, RESENC_L, RESENC_M, RESENC_XL};
    use nnunet_graph::architectures::{Architectures, architectures, find};
    use proptest::prelude::*;

    fn limits<'a>(preset: &'a PlannerPreset, known: &'a Architectures) -> Limits<'a> {
        let architecture = find(preset.architecture, known).unwrap();
        let memory_gb = preset.memory_target_gb;
        Limits { preset, architecture, memory_gb, output_channels: 3, training_cases: 20 }
    }

    #[test]
    fn a_large_isotropic_dataset_gets_the_known_patch() {
        let known = architectures();
        let plan = plan_patch(&limits(&DEFAULT, &known), &[1.0; 3], &[500.0; 3], 1e12);
        assert_eq!(plan.topology.patch_size, [128, 128, 128]);
        assert_eq!(plan.batch_size.value, 2);
        assert_eq!(plan.features, [32, 64, 128, 256, 320, 320]);
    }

    #[test]
    fn a_tiny_budget_ends() {
        let known = architectures();
        let tiny = Limits { memory_gb: 1e-6, ..limits(&DEFAULT, &known) };
        let plan = plan_patch(&tiny, &[1.0; 3], &[500.0; 3], 1e12);
        assert_eq!(plan.batch_size.value, 2);
        assert!(plan.topology.patch_size.iter().all(|&edge| edge > 0));
    }

    proptest! {
        #[test]
        fn patches_fit_memory_and_divide(
            spacing in prop::array::uniform3(0.2f64..8.0),
            shape in prop::array::uniform3(8f64..600.0),
            planner in prop::sample::select(&[DEFAULT, TORCHRES, RESENC, RESENC_M, RESENC_L, RESENC_XL]),
        ) {
            let known = architectures();
            let limits = limits(&planner, &known);
            let plan = plan_patch(&limits, &spacing, &shape.map(f64::round), 1e10);
            for (edge, by) in plan.topology.patch_size.iter().zip(&plan.topology.divisible_by) {
                prop_assert_eq!(edge % by, 0);
            }
            prop_assert!(plan.elements as f64 <= plan.budget);
            prop_assert!(plan.batch_size.value >= 2);
        }
    }
}
