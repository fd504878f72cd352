//! What a planner is, and those that are built in.

use std::fmt::Debug;
use std::sync::Arc;

use nnunet_base::parts::Named;

use crate::parts::Parts;

use super::decided::Decisions;
use super::document;
use super::error::PlanError;
use super::experiment::plan_experiment;
use super::facts::DatasetFacts;
use super::options::PlannerOptions;
use super::preset::{DEFAULT, PlannerPreset, TORCHRES};
use super::residual::{
    RESENC, RESENC_L, RESENC_L_NO_RESAMPLING, RESENC_L_TORCHRES, RESENC_L_TORCHRES_SEPZ, RESENC_M, RESENC_XL,
};

/// Makes plans for datasets.
pub trait Planner: Debug + Send + Sync {
    /// Name of its plans unless the user gives one.
    fn plans_name(&self) -> &str;

    /// Decides the content of a plans file, under `experiment_planner_used` the name of this planner that `options` give.
    /// What it chooses by name is among `parts`.
    ///
    /// # Errors
    /// A dataset that cannot be planned; an architecture that is not registered.
    fn decide(
        &self,
        facts: &DatasetFacts,
        options: &PlannerOptions,
        parts: &Parts,
    ) -> Result<Decisions, PlanError>;
}

impl Planner for PlannerPreset {
    fn plans_name(&self) -> &str {
        self.plans_name
    }

    fn decide(
        &self,
        facts: &DatasetFacts,
        options: &PlannerOptions,
        parts: &Parts,
    ) -> Result<Decisions, PlanError> {
        let architecture = &**parts.architectures.get(self.architecture)?;
        let experiment = plan_experiment(facts, self, architecture, options)?;
        Ok(document::decisions(facts, self, architecture, options, &experiment))
    }
}

/// The planners that are built in.
pub fn planners() -> Named<Arc<dyn Planner>> {
    let presets = [
        (DEFAULT, "plain U-Net for 8 GB"),
        (RESENC_M, "U-Net with residual encoder for 9 to 11 GB"),
        (RESENC_L, "U-Net with residual encoder for 24 GB"),
        (RESENC_XL, "U-Net with residual encoder for 40 GB"),
        (RESENC, "U-Net with residual encoder for 8 GB, batches of at most 5 % of the dataset"),
        (TORCHRES, "ExperimentPlanner with PyTorch's resampling"),
        (RESENC_L_TORCHRES, "L with PyTorch's resampling"),
        (RESENC_L_TORCHRES_SEPZ, "L with PyTorch's resampling, a coarse axis on its own"),
        (RESENC_L_NO_RESAMPLING, "L without resampling"),
    ];
    let none: Named<Arc<dyn Planner>> = Named::new("planner");
    presets
        .into_iter()
        .fold(none, |named, (preset, summary)| named.with(preset.name, summary, Arc::new(preset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planners_are_found_by_name() {
        let planners = planners();
        assert_eq!(planners.iter().count(), 9);
        assert_eq!(planners.get("nnUNetPlannerResEncL").unwrap().plans_name(), "nnUNetResEncUNetLPlans");
        let text = planners.get("nnUNetPlannerResencL").unwrap_err().to_string();
        assert!(
            text.contains("did you mean nnUNetPlannerResEncL?") && text.contains(", ExperimentPlanner"),
            "{text}"
        );
        assert!(!planners.get("x").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn data_is_shared_only_where_it_is_equal() {
        let folder = |preset: PlannerPreset| preset.data_identifier("own", "3d_fullres");
        assert_eq!(folder(RESENC_L), "nnUNetPlans_3d_fullres");
        assert_eq!(folder(RESENC_L_TORCHRES), "own_3d_fullres");
        assert_eq!(folder(RESENC_L_NO_RESAMPLING), "own_3d_fullres");
    }
}
