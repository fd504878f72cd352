//! From facts to plans, without files.

use super::plans_json::Plans;
use crate::parts::Parts;
use crate::planner::{DatasetFacts, PlanError, PlannerOptions, check_plans_name};

/// Makes plans for a dataset with the planner that `options` name.
///
/// # Errors
/// Options that make no sense or name a planner that is not registered; a dataset that cannot be planned; a planner whose
/// plans lack what plans need.
pub fn make_plans(facts: &DatasetFacts, options: &PlannerOptions, parts: &Parts) -> Result<Plans, PlanError> {
    options.check(&parts.planners)?;
    let planner = parts.planners.get(&options.planner)?;
    let decisions = planner.decide(facts, options, parts)?;
    let name = options.overwrite_plans_name.as_deref().unwrap_or(planner.plans_name());
    let plans = Plans::from_json(decisions.to_json(), name)?;
    // A planner of the caller's own may write whatever it likes.
    check_plans_name(plans.plans_name())?;
    Ok(plans)
}
