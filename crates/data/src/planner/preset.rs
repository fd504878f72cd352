//! A planner as data: which network it plans for and how much memory and data a batch may take.

use super::resampling_family::ResamplingFamily;

/// A planner by its numbers. All of them share one procedure; what goes beyond these numbers is a
/// [`Planner`](super::Planner) of its own.
///
/// A program that uses this library registers its own:
///
/// ```
/// use std::sync::Arc;
///
/// use nnunet_data::Parts;
/// use nnunet_data::plan::{PlannerPreset, RESENC_L, ResamplingFamily};
///
/// /// As L, for GPUs of 80 GB and with PyTorch's resampling.
/// const RESENC_80: PlannerPreset = PlannerPreset {
///     name: "PlannerResEnc80",
///     plans_name: "ResEnc80Plans",
///     memory_target_gb: 80.0,
///     resampling: ResamplingFamily::Torch,
///     shares_default_data: false,
///     ..RESENC_L
/// };
///
/// let mut parts = Parts::default();
/// parts.planners.register(RESENC_80.name, "L for GPUs of 80 GB", Arc::new(RESENC_80))?;
/// // For options of plan_dataset that name the planner PlannerResEnc80.
/// assert_eq!(parts.planners.get("PlannerResEnc80")?.plans_name(), "ResEnc80Plans");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannerPreset {
    /// Name of the class in the reference; written into the plans.
    pub name: &'static str,
    /// Name of the plans unless the user gives one.
    pub plans_name: &'static str,
    /// Name of the architecture that is planned for, e.g. `PlainConvUNet`.
    pub architecture: &'static str,
    /// Blocks of the encoder per stage; the last value holds for all further stages.
    pub encoder_blocks: &'static [usize],
    /// Convolutions of the decoder per stage; the last value holds for all further stages.
    pub decoder_convolutions: &'static [usize],
    /// GPU memory in GB that a batch may need unless the user says otherwise.
    pub memory_target_gb: f64,
    /// GPU memory in GB for which the two reference values stand.
    pub reference_gb: f64,
    /// Elements of feature maps per batch that fit, 3D (batch size 2).
    pub reference_elements_3d: f64,
    /// Elements of feature maps per batch that fit, 2D (batch size 12).
    pub reference_elements_2d: f64,
    /// Whether the reference values are those of the reference batch size and the patch is cut
    /// only until a batch of two fits.
    pub shrink_for_batch_of_two: bool,
    /// Part of the dataset's voxels that one batch may cover.
    pub max_dataset_covered: f64,
    /// Whether 2d and 3d_fullres use the preprocessed data of the default plans.
    pub shares_default_data: bool,
    /// How images, labels and probabilities are resampled.
    pub resampling: ResamplingFamily,
}

/// The default planner of the reference.
pub const DEFAULT: PlannerPreset = PlannerPreset {
    name: "ExperimentPlanner",
    plans_name: "nnUNetPlans",
    architecture: "PlainConvUNet",
    encoder_blocks: &[2],
    decoder_convolutions: &[2],
    memory_target_gb: 8.0,
    reference_gb: 8.0,
    reference_elements_3d: 560_000_000.0,
    reference_elements_2d: 85_000_000.0,
    shrink_for_batch_of_two: true,
    max_dataset_covered: 0.05,
    shares_default_data: false,
    resampling: ResamplingFamily::Spline,
};

/// `nnUNetPlanner_torchres`: the default planner with PyTorch's resampling.
pub const TORCHRES: PlannerPreset = PlannerPreset {
    name: "nnUNetPlanner_torchres",
    plans_name: "nnUNetPlans_torchres",
    resampling: ResamplingFamily::Torch,
    ..DEFAULT
};

impl PlannerPreset {
    /// Folder of the preprocessed data of `configuration` under plans called `plans_name`.
    pub fn data_identifier(&self, plans_name: &str, configuration: &str) -> String {
        let shared = self.shares_default_data && matches!(configuration, "2d" | "3d_fullres");
        let plans_name = if shared { DEFAULT.plans_name } else { plans_name };
        format!("{plans_name}_{configuration}")
    }

    /// Batch size for which the reference values stand.
    pub(super) fn reference_batch_size(dimensions: usize) -> f64 {
        if dimensions == 2 { 12.0 } else { 2.0 }
    }

    /// Elements of feature maps that fit into `memory_gb`.
    pub(super) fn element_budget(&self, dimensions: usize, memory_gb: f64) -> f64 {
        let elements = if dimensions == 2 { self.reference_elements_2d } else { self.reference_elements_3d };
        elements * (memory_gb / self.reference_gb)
    }

    pub(super) fn encoder_blocks(&self, stages: usize) -> Vec<usize> {
        extended(self.encoder_blocks, stages)
    }

    pub(super) fn decoder_convolutions(&self, stages: usize) -> Vec<usize> {
        extended(self.decoder_convolutions, stages.saturating_sub(1))
    }
}

fn extended(values: &[usize], length: usize) -> Vec<usize> {
    let last = values.last().copied().unwrap_or(1);
    (0..length).map(|i| values.get(i).copied().unwrap_or(last)).collect()
}
