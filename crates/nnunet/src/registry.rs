//! All parts that are chosen by name, in one value.

use crate::backend::{DeviceBuilder, devices};
use nnunet_assess::evaluate::{MetricBuilder, metrics};
use nnunet_assess::postprocess;
use nnunet_base::parts::{Lazy, Named};
use nnunet_recipe::{Recipe, recipes};

/// The parts that verbs choose by name. [`Registry::default`] has those that are built in; a program of one's own adds
/// to it and hands it to [`Project::with_registry`](crate::Project::with_registry).
///
/// ```
/// use std::sync::Arc;
/// use nnunet::{Registry, backend::{self, BackendOptions}};
///
/// let mut registry = Registry::default();
/// registry.devices.register("one-core", "the CPU, one core of it", Arc::new(|options| {
///     Ok(backend::cpu(&BackendOptions { threads: 1, ..options.clone() }))
/// }))?;
/// let device = registry.device("one-core", &BackendOptions::default())?;
/// assert_eq!(device.host_threads(), 1);
/// let error = registry.device("one-cor", &BackendOptions::default()).unwrap_err();
/// assert!(error.to_string().contains("did you mean one-core?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Registry {
    /// What runs networks, the best first.
    pub devices: Named<DeviceBuilder>,
    /// What datasets and plans choose from: image formats, label managers, normalisations, resampling functions,
    /// architectures, planners.
    pub data: nnunet_data::Parts,
    /// Metrics of evaluations beyond the reference's.
    pub metrics: Named<MetricBuilder>,
    /// Functions that a postprocessing.pkl may name.
    pub postprocessings: Named<postprocess::Function>,
    /// Trainers, as `-tr` names them. Those that are built in are read from their table when they are first looked at.
    pub recipes: Lazy<Named<Recipe>>,
    /// What recipes choose from: losses, optimisers, schedules, transforms, samplings.
    pub train: nnunet_train::Parts,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            devices: devices(),
            data: nnunet_data::Parts::default(),
            metrics: metrics(),
            postprocessings: postprocess::postprocessings(),
            recipes: Lazy::new(recipes),
            train: nnunet_train::Parts::default(),
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("devices", &self.devices.names().collect::<Vec<_>>())
            .field("data", &self.data)
            .field("metrics", &self.metrics.names().collect::<Vec<_>>())
            .field("postprocessings", &self.postprocessings.names().collect::<Vec<_>>())
            .field("recipes", &self.recipes.made().map(|recipes| recipes.names().collect::<Vec<_>>()))
            .finish_non_exhaustive()
    }
}
