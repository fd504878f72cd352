//! The cases of a run: images as the user has them, or preprocessed ones.

use std::path::PathBuf;

use nnunet_volume::{ChannelVolume, Volume};

use super::error::PredictError;
use nnunet_base::Ctx;
use nnunet_data::preprocess::{Properties, StoredFormat, write_previous_stage};

/// The cases of a run, counted from 0.
pub trait Cases: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Identifier of a case, which names its segmentation.
    fn identifier(&self, case: usize) -> &str;

    /// How large a case is, from the headers of its files. `None` where these cannot be read; the case then fails by
    /// itself when it is read.
    fn size(&self, case: usize) -> Option<CaseSize>;

    /// Reads a case; called from several threads.
    ///
    /// # Errors
    /// Files that cannot be read or do not fit the network.
    fn read(&self, case: usize, ctx: Ctx<'_>) -> Result<PreparedCase, PredictError>;
}

/// How large a case is: what its need of memory follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseSize {
    /// Shape (z, y, x) of the image.
    pub image: [usize; 3],
    /// Shape (z, y, x) of the network's input.
    pub on_network: [usize; 3],
    /// Shapes (z, y, x) of the grids of a cascade's next stages.
    pub next_stages: Vec<[usize; 3]>,
    /// Bytes that reading and preprocessing take.
    pub preparation: u64,
}

/// A case as the network takes it.
#[derive(Debug)]
pub struct PreparedCase {
    /// Input of the network (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// The way back to the image's own grid.
    pub properties: Properties,
    /// The stages of a cascade that take this case's segmentation as input.
    pub next_stages: Vec<NextStage>,
}

impl PreparedCase {
    pub(super) fn size(&self) -> CaseSize {
        CaseSize {
            image: self.properties.shape_before_cropping,
            on_network: self.data.shape(),
            next_stages: self.next_stages.iter().map(|next| next.shape).collect(),
            // It is over.
            preparation: 0,
        }
    }
}

/// Where a segmentation goes that a cascade's next stage takes as input.
#[derive(Debug, Clone, PartialEq)]
pub struct NextStage {
    /// The folder.
    pub folder: PathBuf,
    /// Shape (z, y, x) of the case as preprocessed for the next stage: the grid of the segmentation.
    pub shape: [usize; 3],
    /// Patch size of the next stage, which decides the chunks of the file.
    pub patch_size: Vec<usize>,
    /// Number of foreground labels, which decides the type of the values.
    pub foreground_labels: usize,
    /// Format of the next stage's cases.
    pub format: StoredFormat,
}

impl NextStage {
    pub(super) fn write(&self, case: &str, segmentation: &Volume<u16>) -> Result<(), PredictError> {
        let Self { folder, patch_size, foreground_labels, format, .. } = self;
        Ok(write_previous_stage(folder, case, segmentation, patch_size, *foreground_labels, *format)?)
    }
}
