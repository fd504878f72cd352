//! The residual-encoder planners: the base and its presets for about 8, 24 and 40 GB (M, L, XL), L also with
//! other ways of resampling.

use super::preset::PlannerPreset;
use super::resampling_family::ResamplingFamily;

/// `ResEncUNetPlanner`: memory as M, batches of at most 5 % of the dataset.
pub const RESENC: PlannerPreset = PlannerPreset {
    name: "ResEncUNetPlanner",
    plans_name: "nnUNetResEncUNetPlans",
    architecture: "ResidualEncoderUNet",
    encoder_blocks: &[1, 3, 4, 6],
    decoder_convolutions: &[1],
    memory_target_gb: 8.0,
    reference_gb: 8.0,
    reference_elements_3d: 680_000_000.0,
    reference_elements_2d: 135_000_000.0,
    shrink_for_batch_of_two: false,
    max_dataset_covered: 0.05,
    shares_default_data: true,
    resampling: ResamplingFamily::Spline,
};

/// `nnUNetPlannerResEncM`: about as much memory as the default planner.
pub const RESENC_M: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncM",
    plans_name: "nnUNetResEncUNetMPlans",
    max_dataset_covered: 1.0,
    ..RESENC
};

/// `nnUNetPlannerResEncL`: GPUs of 24 GB.
pub const RESENC_L: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncL",
    plans_name: "nnUNetResEncUNetLPlans",
    memory_target_gb: 24.0,
    reference_gb: 24.0,
    reference_elements_3d: 2_100_000_000.0,
    reference_elements_2d: 380_000_000.0,
    ..RESENC_M
};

/// `nnUNetPlannerResEncXL`: GPUs of 40 GB.
pub const RESENC_XL: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncXL",
    plans_name: "nnUNetResEncUNetXLPlans",
    memory_target_gb: 40.0,
    reference_gb: 40.0,
    reference_elements_3d: 3_600_000_000.0,
    reference_elements_2d: 560_000_000.0,
    ..RESENC_M
};

/// `nnUNetPlannerResEncL_torchres`: L with PyTorch's resampling.
pub const RESENC_L_TORCHRES: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncL_torchres",
    plans_name: "nnUNetResEncUNetLPlans_torchres",
    shares_default_data: false,
    resampling: ResamplingFamily::Torch,
    ..RESENC_L
};

/// `nnUNetPlannerResEncL_torchres_sepz`: the same, a coarse axis treated on its own.
pub const RESENC_L_TORCHRES_SEPZ: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncL_torchres_sepz",
    plans_name: "nnUNetResEncUNetLPlans_torchres_sepz",
    resampling: ResamplingFamily::TorchSeparateAxis,
    ..RESENC_L_TORCHRES
};

/// `nnUNetPlannerResEncL_noResampling`: L, and every image keeps its grid whatever the planned spacing.
pub const RESENC_L_NO_RESAMPLING: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncL_noResampling",
    plans_name: "nnUNetResEncUNetLPlans_noResampling",
    resampling: ResamplingFamily::Unchanged,
    ..RESENC_L_TORCHRES
};
