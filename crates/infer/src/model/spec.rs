//! What a trained network is, apart from its weights.

use nnunet_graph::{Graph, NetworkError};

use super::{input_channels, network_graph, previous_stage_labels};
use nnunet_data::Parts;
use nnunet_data::plan::{Configuration, Plans};
use nnunet_dataset::{DatasetError, DatasetJson, ImageReader, LabelManager};

/// What a trained network is, apart from its weights: how images become its input, and what its output means. One value
/// for everything between a model folder, or a training, and the segmentations.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The plans it was trained with.
    pub plans: Plans,
    /// The configuration it was trained for.
    pub configuration: Configuration,
    /// The dataset it was trained on.
    pub dataset: DatasetJson,
    /// The labels it predicts, those of `dataset`.
    pub labels: LabelManager,
    /// Name of its trainer; empty where a checkpoint does not tell.
    pub trainer: String,
    /// Axes of the patch along which predictions may be mirrored: for slices 0 is y.
    pub mirroring_axes: Vec<usize>,
    /// What plans and dataset name.
    pub parts: Parts,
}

impl ModelSpec {
    /// The network of `configuration` for the labels of `dataset`. What plans and dataset name is among `parts`.
    ///
    /// # Errors
    /// A label manager that is not among them; labels of the dataset that contradict each other.
    pub fn new(
        plans: Plans,
        configuration: Configuration,
        dataset: DatasetJson,
        trainer: String,
        mirroring_axes: Vec<usize>,
        parts: Parts,
    ) -> Result<Self, DatasetError> {
        let labels = plans.label_manager(&dataset, &parts)?;
        Ok(Self { plans, configuration, dataset, labels, trainer, mirroring_axes, parts })
    }

    /// The network, with the full-resolution output only.
    ///
    /// # Errors
    /// An architecture or an argument of it that is not known.
    pub fn graph(&self) -> Result<Graph, NetworkError> {
        network_graph(&self.configuration, &self.dataset, &self.labels, false, &self.parts.architectures)
    }

    /// Channels of the network's input: those of the image and, in a cascade, one for each foreground label of the
    /// previous stage.
    pub fn input_channels(&self) -> usize {
        input_channels(&self.configuration, &self.dataset, &self.labels)
    }

    /// Channels of the network's output.
    pub fn heads(&self) -> usize {
        self.labels.num_segmentation_heads()
    }

    /// Foreground labels of the previous stage's segmentation, in the order of the input's last channels.
    ///
    /// # Errors
    /// A label that does not fit the 16 bits of segmentations.
    pub fn previous_stage_labels(&self) -> Result<Vec<i16>, DatasetError> {
        previous_stage_labels(&self.labels)
    }

    /// What reads its images and writes its segmentations.
    ///
    /// # Errors
    /// Plans that name a reader that is not known, or one that cannot read the dataset's files.
    pub fn image_reader(&self) -> Result<ImageReader, DatasetError> {
        self.plans.reader(&self.dataset, &self.parts)
    }

    /// Name of the configuration.
    pub fn name(&self) -> &str {
        &self.configuration.name
    }

    /// Ending of the images and segmentations, e.g. `.nii.gz`.
    pub fn file_ending(&self) -> &str {
        &self.dataset.file_ending
    }
}
