//! What the user may change about planning.

use super::error::PlanError;
use nnunet_base::parts::Named;
use nnunet_base::spelling::closest_first;
use nnunet_volume::SpacingMm;

/// Preprocessors that there are, by their names in the reference.
pub(crate) const PREPROCESSORS: [&str; 1] = ["DefaultPreprocessor"];

/// What the user may change about planning.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannerOptions {
    /// Name of the planner.
    pub planner: String,
    /// GPU memory in GB that a batch may need; the planner's own if absent.
    pub gpu_memory_target_gb: Option<f64>,
    /// Target spacing (z, y, x) in mm of full resolution, before the axes are transposed.
    pub overwrite_target_spacing: Option<[f64; 3]>,
    /// Name of the plans; the planner's own if absent.
    pub overwrite_plans_name: Option<String>,
    /// Preprocessor by its name in the reference.
    pub preprocessor_name: String,
    /// Keep the axes in the order of the images.
    pub suppress_transpose: bool,
    /// Number of training cases where those of dataset.json are a part of them, as at a site of a federation. It bounds
    /// the batch size.
    pub training_cases: Option<usize>,
}

impl Default for PlannerOptions {
    fn default() -> Self {
        Self {
            planner: super::preset::DEFAULT.name.to_owned(),
            gpu_memory_target_gb: None,
            overwrite_target_spacing: None,
            overwrite_plans_name: None,
            preprocessor_name: "DefaultPreprocessor".to_owned(),
            suppress_transpose: false,
            training_cases: None,
        }
    }
}

impl PlannerOptions {
    /// Checks that plans can be made with these options, and used here.
    ///
    /// # Errors
    /// A planner that is not among `planners`, numbers that make no sense, a name that no file can have, a preprocessor
    /// that is not known.
    pub fn check<P>(&self, planners: &Named<P>) -> Result<(), PlanError> {
        planners.get(&self.planner)?;
        let name = self.preprocessor_name.as_str();
        if !PREPROCESSORS.contains(&name) {
            let problem = format!("is {name:?}; known: {}", closest_first(name, PREPROCESSORS).join(", "));
            return Err(PlanError::Option { option: "preprocessor_name", problem });
        }
        self.check_values()
    }

    /// The same without the preprocessor: plans that name one of somebody's own can be explained.
    pub(crate) fn check_values(&self) -> Result<(), PlanError> {
        if let Some(memory) =
            self.gpu_memory_target_gb.filter(|memory| !(memory.is_finite() && *memory > 0.0))
        {
            let problem = format!("is {memory} GB; expected a positive number");
            return Err(PlanError::Option { option: "gpu_memory_target", problem });
        }
        if let Some(spacing) = self.overwrite_target_spacing.filter(|s| !SpacingMm::new(*s).is_valid()) {
            let problem = format!("is {spacing:?} mm; expected three positive numbers (z, y, x)");
            return Err(PlanError::Option { option: "overwrite_target_spacing", problem });
        }
        self.overwrite_plans_name.as_deref().map_or(Ok(()), check_plans_name)
    }
}

/// Refuses a name of plans that no file can have.
pub(crate) fn check_plans_name(name: &str) -> Result<(), PlanError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        let problem = format!("is {name:?}; expected a name that can be a file name");
        return Err(PlanError::Option { option: "name of the plans", problem });
    }
    Ok(())
}
