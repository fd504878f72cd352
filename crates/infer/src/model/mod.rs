//! What training and prediction share: the network that a configuration and a recipe describe, and how a model's folder is
//! named.

mod name;
mod network;
mod spec;

pub use name::ModelName;
pub(crate) use name::models_in;
pub use network::with_network;
pub use nnunet_recipe::{Recipe, UnknownTrainer};
pub use spec::ModelSpec;

use nnunet_graph::architectures::{Architectures, Surroundings, find};
use nnunet_graph::{Graph, NetworkError};

use nnunet_data::plan::Configuration;
use nnunet_dataset::labels::stored_label;
use nnunet_dataset::{DatasetError, DatasetJson, LabelManager};

/// Number of input channels: those of the image, and in a cascade one for each foreground label of the
/// previous stage's segmentation.
pub fn input_channels(configuration: &Configuration, dataset: &DatasetJson, labels: &LabelManager) -> usize {
    let previous = if configuration.previous_stage.is_some() { labels.foreground_labels().len() } else { 0 };
    dataset.num_channels() + previous
}

/// Foreground labels of a previous stage's segmentation, in the order of the network's input channels.
///
/// # Errors
/// A label that does not fit the 16 bits of segmentations.
pub fn previous_stage_labels(labels: &LabelManager) -> Result<Vec<i16>, DatasetError> {
    labels.foreground_labels().into_iter().map(stored_label).collect()
}

/// The graph of the configuration's network, an architecture of `known`. Without `deep_supervision` it has the full-resolution output only.
///
/// # Errors
/// An architecture or an argument of it that is not known.
pub fn network_graph(
    configuration: &Configuration,
    dataset: &DatasetJson,
    labels: &LabelManager,
    deep_supervision: bool,
    known: &Architectures,
) -> Result<Graph, NetworkError> {
    let described = &configuration.architecture;
    let surroundings = Surroundings {
        input_channels: input_channels(configuration, dataset, labels),
        output_channels: labels.num_segmentation_heads(),
        deep_supervision,
    };
    find(&described.network_class_name, known)?.graph(&described.kwargs_value(), surroundings)
}
