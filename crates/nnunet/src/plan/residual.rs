//! The residual-encoder planners: the base and its presets for about 8, 24 and 40 GB (M, L, XL).

use super::preset::{NetworkFamily, PlannerPreset};

/// `ResEncUNetPlanner`: memory as M, batches of at most 5 % of the dataset.
pub static RESENC: PlannerPreset = PlannerPreset {
    name: "ResEncUNetPlanner",
    plans_name: "nnUNetResEncUNetPlans",
    family: NetworkFamily::ResidualEncoderUNet,
    encoder_blocks: &[1, 3, 4, 6],
    decoder_convolutions: &[1],
    memory_target_gb: 8.0,
    reference_gb: 8.0,
    reference_elements_3d: 680_000_000.0,
    reference_elements_2d: 135_000_000.0,
    shrink_for_batch_of_two: false,
    max_dataset_covered: 0.05,
    shares_default_data: true,
};

/// `nnUNetPlannerResEncM`: about as much memory as the default planner.
pub static RESENC_M: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncM",
    plans_name: "nnUNetResEncUNetMPlans",
    max_dataset_covered: 1.0,
    ..RESENC
};

/// `nnUNetPlannerResEncL`: GPUs of 24 GB.
pub static RESENC_L: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncL",
    plans_name: "nnUNetResEncUNetLPlans",
    memory_target_gb: 24.0,
    reference_gb: 24.0,
    reference_elements_3d: 2_100_000_000.0,
    reference_elements_2d: 380_000_000.0,
    ..RESENC_M
};

/// `nnUNetPlannerResEncXL`: GPUs of 40 GB.
pub static RESENC_XL: PlannerPreset = PlannerPreset {
    name: "nnUNetPlannerResEncXL",
    plans_name: "nnUNetResEncUNetXLPlans",
    memory_target_gb: 40.0,
    reference_gb: 40.0,
    reference_elements_3d: 3_600_000_000.0,
    reference_elements_2d: 560_000_000.0,
    ..RESENC_M
};
