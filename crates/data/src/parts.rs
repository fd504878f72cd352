//! What the stages choose by name.

use std::sync::Arc;

use nnunet_base::parts::Named;
use nnunet_graph::architectures::{Architectures, architectures};

use crate::normalization::{Normalizations, normalizations};
use crate::planner::{Planner, planners};
use crate::resampling::{ResamplingFunctions, resampling_functions};
use nnunet_dataset::{ImageFormats, LabelManagers, image_formats, label_managers};

/// The parts that the stages choose by name, those that are built in and those that a caller registers.
#[derive(Clone)]
pub struct Parts {
    /// Image formats by the names of their readers, for dataset.json and plans.
    pub formats: ImageFormats,
    /// Label managers, for plans.
    pub label_managers: LabelManagers,
    /// Normalisation schemes, for plans; planning chooses among them by the names of channels.
    pub normalizations: Normalizations,
    /// Resampling functions, for plans.
    pub resampling: ResamplingFunctions,
    /// Architectures, for plans and for planners.
    pub architectures: Architectures,
    /// Planners, for options of planning and for plans that are explained.
    pub planners: Named<Arc<dyn Planner>>,
}

impl Default for Parts {
    /// Those that are built in.
    fn default() -> Self {
        Self {
            formats: image_formats(),
            label_managers: label_managers(),
            normalizations: normalizations(),
            resampling: resampling_functions(),
            architectures: architectures(),
            planners: planners(),
        }
    }
}

impl std::fmt::Debug for Parts {
    /// The names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("formats", &self.formats.names().collect::<Vec<_>>())
            .field("label_managers", &self.label_managers.names().collect::<Vec<_>>())
            .field("normalizations", &self.normalizations.names().collect::<Vec<_>>())
            .field("resampling", &self.resampling.names().collect::<Vec<_>>())
            .field("architectures", &self.architectures.names().collect::<Vec<_>>())
            .field("planners", &self.planners.names().collect::<Vec<_>>())
            .finish()
    }
}
