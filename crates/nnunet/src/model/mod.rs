//! What training and prediction share: the network that a configuration describes, and what a trainer's
//! name stands for.

mod recipe;

pub use recipe::{Recipe, UnknownTrainer};

use nnunet_network::{Graph, NetworkError};

use crate::dataset::{DatasetJson, LabelManager};
use crate::plan::{Configuration, PlanError};

/// Number of input channels: those of the image, and in a cascade one for each foreground label of the
/// previous stage's segmentation.
pub fn input_channels(configuration: &Configuration, dataset: &DatasetJson, labels: &LabelManager) -> usize {
    let previous = if configuration.previous_stage.is_some() { labels.foreground_labels().len() } else { 0 };
    dataset.num_channels() + previous
}

/// The network's graph. Without `deep_supervision` it has the full-resolution output only.
///
/// # Errors
/// An architecture or an argument of it that is not known.
pub fn network_graph(
    configuration: &Configuration,
    dataset: &DatasetJson,
    labels: &LabelManager,
    deep_supervision: bool,
) -> Result<Graph, NetworkError> {
    nnunet_network::build(
        &configuration.architecture.network_class_name,
        &configuration.architecture.kwargs_value(),
        input_channels(configuration, dataset, labels),
        labels.num_segmentation_heads(),
        deep_supervision,
    )
}

/// Scale of each deep-supervision output relative to the patch, full resolution first, one value per
/// axis of the patch: the inverse of the strides up to that output. The lowest resolution of the
/// network has no output.
///
/// # Errors
/// When the plans do not state the strides.
pub fn deep_supervision_scales(configuration: &Configuration) -> Result<Vec<Vec<f64>>, PlanError> {
    let strides = configuration.strides()?;
    let mut scale = vec![1.0; configuration.dimensions()];
    let mut scales: Vec<Vec<f64>> = strides
        .iter()
        .map(|stage| {
            scale.iter_mut().zip(stage).for_each(|(s, stride)| *s /= *stride as f64);
            scale.clone()
        })
        .collect();
    scales.pop();
    Ok(scales)
}
