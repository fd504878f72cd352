//! Every planning decision, from a fingerprint to nnUNetPlans.json.
//!
//! [`make_plans`] decides, [`Plans`] is the file, [`Configuration`] the resolved view that all later
//! stages work with.

mod architecture;
mod configuration;
mod document;
mod error;
mod explain;
mod in_use;
mod lowres;
mod memory;
mod move_plans;
mod normalization_choice;
mod old_format;
mod patch_size;
mod planner;
mod plans_json;
mod preset;
mod reasons;
mod resampling;
mod residual;
mod run;
mod statistics;
mod target_spacing;
mod topology;
mod values;

pub use architecture::Architecture;
pub use configuration::Configuration;
pub use error::PlanError;
pub use explain::{Explanation, explain, explanations_as_json, explanations_as_text};
pub use lowres::plan_lowres;
pub use memory::{EncoderBlocks, NetworkShape, feature_map_elements};
pub use move_plans::{MoveRequest, move_plans};
pub use normalization_choice::{normalization_scheme, uses_mask};
pub use patch_size::{Limits, PatchPlan, plan_patch};
pub(crate) use planner::PREPROCESSORS;
pub use planner::{DatasetFacts, Experiment, PlannerOptions, make_plans, plan_experiment};
pub use plans_json::Plans;
pub use preset::{DEFAULT, NetworkFamily, PLANNERS, PlannerPreset, ResamplingFamily, TORCHRES};
pub use resampling::Resampling;
pub use residual::{
    RESENC, RESENC_L, RESENC_L_NO_RESAMPLING, RESENC_L_TORCHRES, RESENC_L_TORCHRES_SEPZ, RESENC_M, RESENC_XL,
};
pub use run::{explain_plans, plan_dataset, read_facts};
pub use target_spacing::{
    ANISOTROPY_THRESHOLD, SpacingRule, TargetSpacing, resampled_shape, target_spacing, transpose_orders,
    transposed,
};
pub use topology::{MINIMAL_EDGE, Topology, topology};
pub use values::Document;
