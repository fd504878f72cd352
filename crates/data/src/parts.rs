//! What the stages choose by name.

use std::sync::Arc;

use nnunet_base::parts::Named;

use crate::planner::{Planner, planners};

/// The parts that the stages choose by name, those that are built in and those that a caller registers.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Planners, for options of planning and for plans that are explained.
    pub planners: Named<Arc<dyn Planner>>,
}

impl Default for Parts {
    /// Those that are built in.
    fn default() -> Self {
        Self { planners: planners() }
    }
}
