//! Planners: every decision from a fingerprint to plans, none of the files.
//!
//! A [`Planner`] turns [`DatasetFacts`] into [`Decisions`]: the content of a plans file, each value with what it follows
//! from and by which rule. Those that are built in are [`PlannerPreset`]s, which share one procedure.

mod architecture;
mod decided;
mod document;
pub(crate) mod error;
mod experiment;
mod facts;
mod lowres;
mod normalization_choice;
mod options;
mod patch_size;
mod preset;
mod registry;
mod resampling_family;
mod residual;
mod statistics;
mod target_spacing;
mod topology;

pub use decided::{Decided, Decision, Decisions};
pub(crate) use document::{decided_inverse, decided_planner};
pub use error::PlanError;
pub use experiment::{Experiment, plan_experiment};
pub use facts::DatasetFacts;
pub use lowres::plan_lowres;
pub use normalization_choice::Channel;
pub use options::PlannerOptions;
pub(crate) use options::{PREPROCESSORS, check_plans_name};
pub use patch_size::{Limits, PatchPlan, plan_patch};
pub use preset::{DEFAULT, PlannerPreset, TORCHRES};
pub use registry::{Planner, planners};
pub use resampling_family::ResamplingFamily;
pub use residual::{
    RESENC, RESENC_L, RESENC_L_NO_RESAMPLING, RESENC_L_TORCHRES, RESENC_L_TORCHRES_SEPZ, RESENC_M, RESENC_XL,
};
pub use statistics::{median, percentile};
pub use target_spacing::{
    ANISOTROPY_THRESHOLD, SpacingRule, TargetSpacing, resampled_shape, target_spacing, transpose_orders,
    transposed,
};
pub use topology::{MINIMAL_EDGE, Topology, topology};
