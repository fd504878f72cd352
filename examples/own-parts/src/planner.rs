//! `FlatPlanner`: spacing, normalisation and resampling as the default planner decides them, with smaller patches and
//! [`FlatNet`] for each configuration.

use nnunet::Parts;
use nnunet::graph::architectures::Architecture;
use nnunet::json::Json;
use nnunet::plan::{DEFAULT, DatasetFacts, Decided, Decision, Decisions, PlanError, Planner, PlannerOptions};

use crate::architecture::FlatNet;

/// Its name.
pub(crate) const NAME: &str = "FlatPlanner";

/// Longest edge of a patch in voxels, for two and for three axes: without pooling every layer works on all voxels.
const LONGEST_EDGE: [usize; 2] = [256, 64];

/// The planner.
#[derive(Debug)]
pub(crate) struct FlatPlanner;

impl Planner for FlatPlanner {
    fn plans_name(&self) -> &str {
        "FlatPlans"
    }

    fn decide(
        &self,
        facts: &DatasetFacts,
        options: &PlannerOptions,
        parts: &Parts,
    ) -> Result<Decisions, PlanError> {
        let name = options.overwrite_plans_name.as_deref().unwrap_or(self.plans_name());
        let options = PlannerOptions { overwrite_plans_name: Some(name.to_owned()), ..options.clone() };
        let mut plans = DEFAULT.decide(facts, &options, parts)?;
        // Not every dataset has each of them.
        for configuration in ["2d", "3d_lowres", "3d_fullres"] {
            let Some(patch) = plans.get_mut(&["configurations", configuration, "patch_size"]) else {
                continue;
            };
            let axes = shorten(patch);
            if let Some(network) = plans.get_mut(&["configurations", configuration, "architecture"]) {
                *network = Decision::Object(architecture(axes));
            }
        }
        Ok(plans)
    }
}

/// Cuts the patch to the longest edge and returns the number of its axes.
fn shorten(patch: &mut Decision) -> usize {
    let planned = patch.to_json();
    let edges = planned.as_array().unwrap_or_default();
    let longest = LONGEST_EDGE[usize::from(edges.len() == 3)];
    let cut = edges.iter().map(|edge| edge.as_i64().unwrap_or_default().min(longest as i64));
    let cut: Vec<Json> = cut.map(Json::Int).collect();
    let rule = format!("the default planner's, at most {longest} voxels per axis");
    *patch = Decision::Value(Decided::new(Json::Array(cut), "the default planner", rule));
    edges.len()
}

fn architecture(axes: usize) -> Decisions {
    let fixed = |value: usize| Decided::new(value, format!("planner {NAME}"), "fixed");
    let arguments = Decisions::new()
        .value("dimensions", Decided::new(axes, "patch_size", "the number of its axes"))
        .value("width", fixed(16))
        .value("blocks", fixed(2));
    let class = Decided::new(FlatNet.class_name().to_owned(), format!("planner {NAME}"), "plans for it");
    let nothing = Decided::new(Json::Array(Vec::new()), "arch_kwargs", "none of them is a Python name");
    Decisions::new()
        .value("network_class_name", class)
        .object("arch_kwargs", arguments)
        .value("_kw_requires_import", nothing)
}
