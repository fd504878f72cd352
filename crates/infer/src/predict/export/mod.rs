//! From logits on the network's grid to a segmentation on the original one.
//!
//! ```text
//! logits (classes, z, y, x), target spacing
//!   -> resampled slab by slab to the cropped grid -> winner (or regions) of each voxel
//!   -> crop box put back (background outside) -> axes transposed back
//! ```
//! Only a slab of the resampled logits exists at a time, never classes x the full image.
//! Source: the reference's export. Its logits are f16 before and after resampling; rounding ours the same
//! way decides close voxels as it does.

mod decision;
mod error;
mod labels_of_slices;

use half::f16;
use half::slice::HalfFloatSliceExt;
use nnunet_volume::resample::{Interpolation, Method, SlabResampler, resample_data};
use nnunet_volume::{ChannelVolume, SpacingMm, Volume};
use rayon::prelude::*;

use super::slab_stream::{SlabStream, round_to_half};
use crate::model::ModelSpec;
use decision::{Scores, decide, softmax};
use nnunet_data::preprocess::{Properties, transpose};

pub use error::ExportError;
pub use labels_of_slices::LabelsOfSlices;

/// Brings predictions of a network back to the grid of their images.
#[derive(Debug, Clone, Copy)]
pub struct Exporter<'a> {
    spec: &'a ModelSpec,
}

impl<'a> Exporter<'a> {
    /// An exporter for predictions of `spec`.
    pub fn new(spec: &'a ModelSpec) -> Self {
        Self { spec }
    }

    /// The segmentation (z, y, x) on the original grid for `logits` (heads, z, y, x) on the network's.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn segmentation(
        &self,
        logits: &ChannelVolume<f16>,
        properties: &Properties,
    ) -> Result<Volume<u16>, ExportError> {
        let mut labels = self.labels_of_slices(logits.shape(), properties)?;
        labels.push(logits)?;
        labels.finish(properties)
    }

    /// The same for logits that arrive slice by slice on a network's grid of `shape` (z, y, x).
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn labels_of_slices(
        &self,
        shape: [usize; 3],
        properties: &Properties,
    ) -> Result<LabelsOfSlices<'a>, ExportError> {
        check_crop(properties)?;
        LabelsOfSlices::new(*self, shape, self.way_back(properties))
    }

    /// The segmentation (z, y, x) for `logits` (heads, z, y, x), resampled to `shape`: the preprocessed
    /// grid of a cascade's next stage.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn segmentation_for_next_stage(
        &self,
        logits: &ChannelVolume<f16>,
        properties: &Properties,
        shape: [usize; 3],
    ) -> Result<Volume<u16>, ExportError> {
        let mut labels = self.labels_for_next_stage(logits.shape(), properties, shape)?;
        labels.push(logits)?;
        labels.finish_on_grid()
    }

    /// The same for logits that arrive slice by slice on a network's grid of shape `from` (z, y, x).
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn labels_for_next_stage(
        &self,
        from: [usize; 3],
        properties: &Properties,
        shape: [usize; 3],
    ) -> Result<LabelsOfSlices<'a>, ExportError> {
        // As in the reference, only the network's own spacing says whether an axis is treated separately.
        let spacing = self.way_back(properties).from;
        LabelsOfSlices::new(*self, from, Grid { shape, from: spacing, to: spacing })
    }

    /// The segmentation and the probabilities (heads, z, y, x), both on the original grid. Outside of
    /// the crop box the background has probability 1 (regions: every region 0).
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn segmentation_and_probabilities(
        &self,
        logits: &ChannelVolume<f16>,
        properties: &Properties,
    ) -> Result<(Volume<u16>, ChannelVolume<f32>), ExportError> {
        check_crop(properties)?;
        self.check_heads(logits)?;
        let grid = self.way_back(properties);
        let mut cropped = vec![0u16; grid.shape.iter().product()];
        let mut probabilities =
            ChannelVolume::filled(logits.channels(), properties.bbox_used_for_cropping.shape(), 0.0f32);
        let visit = |start: usize, slab: &mut ChannelVolume<f32>| {
            if self.spec.labels.has_regions() {
                slab.data_mut().par_iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
            } else {
                softmax(slab);
            }
            let len = slab.voxels();
            decide(&self.spec.labels, slab, Scores::Probabilities, &mut cropped[start..start + len]);
            for c in 0..slab.channels() {
                probabilities.channel_mut(c)[start..start + len].copy_from_slice(slab.channel(c));
            }
        };
        match self.resampling(logits.shape(), grid)? {
            Resampled::BySlabs(mut stream) => stream.push(logits, visit)?,
            Resampled::Whole(method) => self.resample_whole(logits, grid, &method, visit)?,
        }
        Ok((self.restore(cropped, properties), self.restore_probabilities(&probabilities, properties)))
    }

    fn check_heads(&self, logits: &ChannelVolume<f16>) -> Result<(), ExportError> {
        let (found, expected) = (logits.channels(), self.spec.labels.num_segmentation_heads());
        if found == expected { Ok(()) } else { Err(ExportError::Heads { found, expected }) }
    }

    /// The cropped grid of the image.
    fn way_back(&self, properties: &Properties) -> Grid {
        let spacing = properties.spacing.transposed(self.spec.plans.transpose_forward());
        Grid {
            shape: properties.shape_after_cropping_and_before_resampling,
            from: self.spec.configuration.target_spacing_zyx(spacing),
            to: spacing,
        }
    }

    /// How logits on a network's grid of shape `from` come to `grid`.
    fn resampling(&self, from: [usize; 3], grid: Grid) -> Result<Resampled, ExportError> {
        let Some(method) =
            self.spec.configuration.resampling_probabilities.method(&self.spec.parts.resampling)?
        else {
            if from != grid.shape {
                return Err(ExportError::GridKept {
                    plans: self.spec.plans.plans_name().to_owned(),
                    configuration: self.spec.configuration.name.clone(),
                    from,
                    to: grid.shape,
                });
            }
            let method = Method::new(Interpolation::Nearest, Interpolation::Nearest);
            let resampler = SlabResampler::new(from, grid.shape, grid.from, grid.to, &method)?;
            return Ok(Resampled::BySlabs(Box::new(SlabStream::new(resampler, true))));
        };
        if [method.together, method.in_plane, method.across].contains(&Interpolation::Cubic) {
            return Ok(Resampled::Whole(method));
        }
        let resampler = SlabResampler::new(from, grid.shape, grid.from, grid.to, &method)?;
        Ok(Resampled::BySlabs(Box::new(SlabStream::new(resampler, !method.is_torch()))))
    }

    /// Cubic splines need the whole volume: one slab of everything.
    fn resample_whole(
        &self,
        logits: &ChannelVolume<f16>,
        grid: Grid,
        method: &Method,
        visit: impl FnOnce(usize, &mut ChannelVolume<f32>),
    ) -> Result<(), ExportError> {
        let mut whole = resample_data(widened(logits), grid.shape, grid.from, grid.to, method)?;
        round_to_half(&mut whole);
        visit(0, &mut whole);
        Ok(())
    }

    /// Puts the crop back into the image and the axes back into their order.
    fn restore(&self, cropped: Vec<u16>, properties: &Properties) -> Volume<u16> {
        let shape = properties.shape_before_cropping;
        let mut image = Volume::filled(shape, 0u16);
        fill_box(image.data_mut(), &cropped, properties);
        drop(cropped);
        let backward = self.spec.plans.transpose_backward();
        if backward == [0, 1, 2] {
            return image;
        }
        let data = transpose(image.data(), shape, backward);
        Volume::new(backward.map(|axis| shape[axis]), data).unwrap_or(image)
    }

    fn restore_probabilities(
        &self,
        cropped: &ChannelVolume<f32>,
        properties: &Properties,
    ) -> ChannelVolume<f32> {
        let shape = properties.shape_before_cropping;
        let backward = self.spec.plans.transpose_backward();
        let mut restored =
            ChannelVolume::filled(cropped.channels(), backward.map(|axis| shape[axis]), 0.0f32);
        let mut image = vec![0.0f32; shape.iter().product()];
        for c in 0..cropped.channels() {
            let outside = if c == 0 && !self.spec.labels.has_regions() { 1.0 } else { 0.0 };
            image.fill(outside);
            fill_box(&mut image, cropped.channel(c), properties);
            restored.channel_mut(c).copy_from_slice(&transpose(&image, shape, backward));
        }
        restored
    }
}

/// The crop box lies within the image.
fn check_crop(properties: &Properties) -> Result<(), ExportError> {
    let (crop, image) = (properties.bbox_used_for_cropping, properties.shape_before_cropping);
    if (0..3).any(|a| crop.upper[a] > image[a] || crop.lower[a] >= crop.upper[a]) {
        return Err(ExportError::Shapes { crop: crop.shape(), image });
    }
    Ok(())
}

/// How logits come to another grid.
enum Resampled {
    /// A few slices at a time.
    BySlabs(Box<SlabStream>),
    /// All at once.
    Whole(Method),
}

/// What logits are resampled to.
#[derive(Debug, Clone, Copy)]
struct Grid {
    /// Shape (z, y, x).
    shape: [usize; 3],
    /// Spacing (z, y, x) in mm of the logits.
    from: SpacingMm,
    /// Spacing of the grid.
    to: SpacingMm,
}

/// The same values in f32.
fn widened(logits: &ChannelVolume<f16>) -> ChannelVolume<f32> {
    let mut wide = ChannelVolume::filled(logits.channels(), logits.shape(), 0.0f32);
    logits.data().convert_to_f32_slice(wide.data_mut());
    wide
}

/// Copies the rows of the crop into their place.
fn fill_box<T: Copy>(image: &mut [T], cropped: &[T], properties: &Properties) {
    let crop = properties.bbox_used_for_cropping;
    let width = crop.shape()[2];
    for (row, source) in crop.rows(properties.shape_before_cropping).zip(cropped.chunks_exact(width.max(1))) {
        image[row].copy_from_slice(source);
    }
}
