//! Labels of a grid from logits that arrive slice by slice.

use half::f16;
use nnunet_data::preprocess::Properties;
use nnunet_volume::resample::Method;
use nnunet_volume::{ChannelVolume, Volume};

use super::decision::{Scores, decide};
use super::error::ExportError;
use super::{Exporter, Grid, Resampled};
use crate::predict::slab_stream::{Collected, SlabStream};

/// Labels of a grid from logits that arrive slice by slice. Made by [`Exporter::labels_of_slices`].
pub struct LabelsOfSlices<'a> {
    exporter: Exporter<'a>,
    grid: Grid,
    labels: Vec<u16>,
    way: Way,
}

/// How the slices are dealt with.
enum Way {
    Slabs(Box<SlabStream>),
    /// They wait for the last one.
    Whole(Collected, Method),
}

impl<'a> LabelsOfSlices<'a> {
    pub(super) fn new(exporter: Exporter<'a>, from: [usize; 3], grid: Grid) -> Result<Self, ExportError> {
        let way = match exporter.resampling(from, grid)? {
            Resampled::BySlabs(stream) => Way::Slabs(stream),
            Resampled::Whole(method) => Way::Whole(Collected::new(from), method),
        };
        Ok(Self { exporter, grid, labels: vec![0; grid.shape.iter().product()], way })
    }

    /// Takes the next slices of the logits (heads, slices, y, x).
    ///
    /// # Errors
    /// Another number of heads than the labels have.
    pub fn push(&mut self, logits: &ChannelVolume<f16>) -> Result<(), ExportError> {
        self.exporter.check_heads(logits)?;
        match &mut self.way {
            Way::Slabs(stream) => {
                let (exporter, labels) = (&self.exporter, &mut self.labels);
                Ok(stream.push(logits, |start, slab| {
                    let len = slab.voxels();
                    decide(&exporter.spec.labels, slab, Scores::Logits, &mut labels[start..start + len]);
                })?)
            }
            Way::Whole(collected, ..) => {
                collected.push(logits);
                Ok(())
            }
        }
    }

    /// The segmentation (z, y, x) on the image's own grid. Every slice must have arrived.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn finish(self, properties: &Properties) -> Result<Volume<u16>, ExportError> {
        let exporter = self.exporter;
        let labels = self.labels()?;
        Ok(exporter.restore(labels, properties))
    }

    /// The segmentation (z, y, x) on the grid that the slices were resampled to, as a cascade's next stage takes it.
    /// Every slice must have arrived.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn finish_on_grid(self) -> Result<Volume<u16>, ExportError> {
        let shape = self.grid.shape;
        let mut segmentation = Volume::filled(shape, 0u16);
        segmentation.data_mut().copy_from_slice(&self.labels()?);
        Ok(segmentation)
    }

    /// The labels of the grid.
    fn labels(mut self) -> Result<Vec<u16>, ExportError> {
        if let Way::Whole(collected, method) = self.way
            && let Some(logits) = collected.finish()
        {
            let (exporter, labels) = (self.exporter, &mut self.labels);
            exporter.resample_whole(&logits, self.grid, &method, |_, whole| {
                decide(&exporter.spec.labels, whole, Scores::Logits, labels);
            })?;
        }
        Ok(self.labels)
    }
}
