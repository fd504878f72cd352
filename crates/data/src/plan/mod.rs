//! Plans: made by a [`Planner`], kept in nnUNetPlans.json, explained value by value.
//!
//! [`make_plans`] makes them, [`Plans`] is the file, [`Configuration`] the resolved view that all later
//! stages work with.

mod architecture;
mod configuration;
mod explain;
mod in_use;
mod make;
mod move_plans;
mod old_format;
mod plans_json;
mod resampling;
mod run;
mod values;

pub use architecture::Architecture;
pub use configuration::Configuration;
pub use explain::{Explanation, explain, explanations_as_json, explanations_as_text};
pub use make::make_plans;
pub use move_plans::{MoveRequest, move_plans};
pub use plans_json::Plans;
pub use resampling::Resampling;
pub use run::{explain_plans, plan_dataset, read_facts};
pub use values::Document;

pub use crate::planner::*;
