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

use half::f16;
use half::slice::HalfFloatSliceExt;
use nnunet_volume::resample::{Order, SlabResampler, resample_data};
use nnunet_volume::{ChannelVolume, Volume, VolumeError};
use rayon::prelude::*;

use crate::dataset::LabelManager;
use crate::plan::{Configuration, Plans};
use crate::preprocess::{Properties, transpose};

/// Values of a slab: so many floats at most, a few cache-friendly megabytes.
const SLAB_VALUES: usize = 1 << 23;

/// Brings predictions of one configuration back to the grid of their images.
#[derive(Debug, Clone, Copy)]
pub struct Exporter<'a> {
    plans: &'a Plans,
    configuration: &'a Configuration,
    labels: &'a LabelManager,
}

/// Why a prediction could not be brought back.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The plans name a function that does not exist.
    #[error(
        "plans {plans}, configuration {configuration}: resampling_fn_probabilities is {found}, known are \
         resample_data_or_seg_to_shape and no_resampling_hack"
    )]
    UnknownResampling {
        /// Name of the plans.
        plans: String,
        /// Name of the configuration.
        configuration: String,
        /// What was found.
        found: String,
    },
    /// The logits do not fit the labels or the case.
    #[error("the network has {found} outputs, the labels need {expected}: model and dataset.json do not fit")]
    Heads {
        /// Channels of the logits.
        found: usize,
        /// Segmentation heads of the labels.
        expected: usize,
    },
    /// The properties name shapes that contradict each other.
    #[error(
        "the properties of the case are inconsistent: crop of {crop:?} in an image of {image:?} (z, y, x)"
    )]
    Shapes {
        /// Shape of the crop box.
        crop: [usize; 3],
        /// Shape before cropping.
        image: [usize; 3],
    },
    /// Resampling failed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl<'a> Exporter<'a> {
    /// An exporter for the given plans.
    pub fn new(plans: &'a Plans, configuration: &'a Configuration, labels: &'a LabelManager) -> Self {
        Self { plans, configuration, labels }
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
        let mut cropped = vec![0u16; self.checked_crop(logits, properties)?];
        self.for_slabs(logits, self.way_back(properties), |start, slab| {
            let len = slab.voxels();
            self.decide(slab, Scores::Logits, &mut cropped[start..start + len]);
        })?;
        Ok(self.restore(&cropped, properties))
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
        self.checked_crop(logits, properties)?;
        let spacing = self.way_back(properties).from;
        let mut labels = Volume::filled(shape, 0u16);
        // As in the reference, only the network's own spacing says whether an axis is treated separately.
        self.for_slabs(logits, Grid { shape, from: spacing, to: spacing }, |start, slab| {
            let len = slab.voxels();
            self.decide(slab, Scores::Logits, &mut labels.data_mut()[start..start + len]);
        })?;
        Ok(labels)
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
        let voxels = self.checked_crop(logits, properties)?;
        let mut cropped = vec![0u16; voxels];
        let mut probabilities =
            ChannelVolume::filled(logits.channels(), properties.bbox_used_for_cropping.shape(), 0.0f32);
        self.for_slabs(logits, self.way_back(properties), |start, slab| {
            if self.labels.has_regions() {
                slab.data_mut().par_iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
            } else {
                softmax(slab);
            }
            let len = slab.voxels();
            self.decide(slab, Scores::Probabilities, &mut cropped[start..start + len]);
            for c in 0..slab.channels() {
                probabilities.channel_mut(c)[start..start + len].copy_from_slice(slab.channel(c));
            }
        })?;
        Ok((self.restore(&cropped, properties), self.restore_probabilities(&probabilities, properties)))
    }

    /// Number of voxels of the crop box, after checking that everything fits.
    fn checked_crop(
        &self,
        logits: &ChannelVolume<f16>,
        properties: &Properties,
    ) -> Result<usize, ExportError> {
        let (found, expected) = (logits.channels(), self.labels.num_segmentation_heads());
        if found != expected {
            return Err(ExportError::Heads { found, expected });
        }
        let (crop, image) = (properties.bbox_used_for_cropping, properties.shape_before_cropping);
        if (0..3).any(|a| crop.upper[a] > image[a] || crop.lower[a] >= crop.upper[a]) {
            return Err(ExportError::Shapes { crop: crop.shape(), image });
        }
        Ok(crop.shape().iter().product())
    }

    /// The cropped grid of the image.
    fn way_back(&self, properties: &Properties) -> Grid {
        let spacing = self.plans.transpose_forward().map(|axis| properties.spacing[axis]);
        Grid {
            shape: properties.shape_after_cropping_and_before_resampling,
            from: self.configuration.target_spacing_zyx(spacing),
            to: spacing,
        }
    }

    /// Resamples to `grid` and hands out slabs of slices: `visit(index of the first voxel, slab)`.
    fn for_slabs(
        &self,
        logits: &ChannelVolume<f16>,
        grid: Grid,
        mut visit: impl FnMut(usize, &mut ChannelVolume<f32>),
    ) -> Result<(), ExportError> {
        let Grid { shape: to, from: current_spacing, to: new_spacing } = grid;
        let resampling = &self.configuration.resampling_probabilities;
        let known = match resampling.function.as_str() {
            "resample_data_or_seg_to_shape" => true,
            "no_resampling_hack" => logits.shape() == to,
            _ => false,
        };
        let orders =
            (Order::from_number(resampling.order.into()), Order::from_number(resampling.order_z.into()));
        let (true, (Some(in_plane), Some(along_z))) = (known, orders) else {
            return Err(ExportError::UnknownResampling {
                plans: self.plans.plans_name().to_owned(),
                configuration: self.configuration.name.clone(),
                found: format!("{} (order {})", resampling.function, resampling.order),
            });
        };
        let force = resampling.force_separate_z;
        if in_plane == Order::Cubic || along_z == Order::Cubic {
            // Cubic splines need the whole volume.
            let mut whole =
                resample_data(widened(logits), to, current_spacing, new_spacing, in_plane, along_z, force)?;
            round_to_half(&mut whole);
            visit(0, &mut whole);
            return Ok(());
        }
        let resampler =
            SlabResampler::new(logits.shape(), to, current_spacing, new_spacing, in_plane, along_z, force)?;
        let plane = to[1] * to[2];
        let depth = (SLAB_VALUES / (plane * logits.channels()).max(1)).clamp(1, to[0]);
        let mut slab = ChannelVolume::filled(logits.channels(), [depth, to[1], to[2]], 0.0);
        for start in (0..to[0]).step_by(depth) {
            resampler.resample(logits, start..(start + depth).min(to[0]), &mut slab)?;
            round_to_half(&mut slab);
            visit(start * plane, &mut slab);
        }
        Ok(())
    }

    /// Labels of the voxels of a slab.
    fn decide(&self, slab: &ChannelVolume<f32>, scores: Scores, labels: &mut [u16]) {
        const SPAN: usize = 1 << 14;
        let regions = self.labels.has_regions();
        let order = self.labels.regions_class_order();
        let threshold = scores.threshold();
        labels.par_chunks_mut(SPAN).enumerate().for_each(|(i, labels)| {
            let span = i * SPAN..i * SPAN + labels.len();
            let part = |c: usize| &slab.channel(c)[span.clone()];
            if regions {
                labels.fill(0);
                // Later regions overwrite earlier ones.
                for (c, &label) in order.iter().enumerate() {
                    for (out, &score) in labels.iter_mut().zip(part(c)) {
                        if score > threshold {
                            *out = label as u16;
                        }
                    }
                }
            } else {
                // The index of a head is its label: labels are consecutive from the background on.
                let mut best = part(0).to_vec();
                labels.fill(0);
                for c in 1..slab.channels() {
                    for ((out, best), &score) in labels.iter_mut().zip(&mut best).zip(part(c)) {
                        if score > *best {
                            *best = score;
                            *out = c as u16;
                        }
                    }
                }
            }
        });
    }

    /// Puts the crop back into the image and the axes back into their order.
    fn restore(&self, cropped: &[u16], properties: &Properties) -> Volume<u16> {
        let shape = properties.shape_before_cropping;
        let mut image = Volume::filled(shape, 0u16);
        fill_box(image.data_mut(), cropped, properties);
        let backward = self.plans.transpose_backward();
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
        let backward = self.plans.transpose_backward();
        let mut restored =
            ChannelVolume::filled(cropped.channels(), backward.map(|axis| shape[axis]), 0.0f32);
        let mut image = vec![0.0f32; shape.iter().product()];
        for c in 0..cropped.channels() {
            let outside = if c == 0 && !self.labels.has_regions() { 1.0 } else { 0.0 };
            image.fill(outside);
            fill_box(&mut image, cropped.channel(c), properties);
            restored.channel_mut(c).copy_from_slice(&transpose(&image, shape, backward));
        }
        restored
    }
}

/// What logits are resampled to.
#[derive(Debug, Clone, Copy)]
struct Grid {
    /// Shape (z, y, x).
    shape: [usize; 3],
    /// Spacing (z, y, x) in mm of the logits.
    from: [f64; 3],
    /// Spacing of the grid.
    to: [f64; 3],
}

/// What the values of a slab are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scores {
    Logits,
    Probabilities,
}

impl Scores {
    /// Above it a region is present.
    fn threshold(self) -> f32 {
        match self {
            Self::Logits => 0.0,
            Self::Probabilities => 0.5,
        }
    }
}

/// The same values in f32.
fn widened(logits: &ChannelVolume<f16>) -> ChannelVolume<f32> {
    let mut wide = ChannelVolume::filled(logits.channels(), logits.shape(), 0.0f32);
    logits.data().convert_to_f32_slice(wide.data_mut());
    wide
}

/// Rounds every value to f16, saturating at its largest number.
fn round_to_half(slab: &mut ChannelVolume<f32>) {
    const SPAN: usize = 1 << 12;
    let limit = f16::MAX.to_f32();
    slab.data_mut().par_chunks_mut(SPAN).for_each(|values| {
        let mut halves = [f16::ZERO; SPAN];
        let halves = &mut halves[..values.len()];
        values.iter_mut().for_each(|v| *v = v.clamp(-limit, limit));
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(values);
    });
}

/// Copies the rows of the crop into their place.
fn fill_box<T: Copy>(image: &mut [T], cropped: &[T], properties: &Properties) {
    let crop = properties.bbox_used_for_cropping;
    let width = crop.shape()[2];
    for (row, source) in crop.rows(properties.shape_before_cropping).zip(cropped.chunks_exact(width.max(1))) {
        image[row].copy_from_slice(source);
    }
}

/// Probabilities from the logits of a slab, over the channels.
fn softmax(slab: &mut ChannelVolume<f32>) {
    let (channels, voxels) = (slab.channels(), slab.voxels());
    let mut largest = slab.channel(0).to_vec();
    for c in 1..channels {
        largest.iter_mut().zip(slab.channel(c)).for_each(|(m, &v)| *m = m.max(v));
    }
    slab.data_mut().par_chunks_mut(voxels.max(1)).for_each(|channel| {
        channel.iter_mut().zip(&largest).for_each(|(v, m)| *v = (*v - m).exp());
    });
    let mut sums = vec![0.0f32; voxels];
    for c in 0..channels {
        sums.iter_mut().zip(slab.channel(c)).for_each(|(s, &v)| *s += v);
    }
    slab.data_mut().par_chunks_mut(voxels.max(1)).for_each(|channel| {
        channel.iter_mut().zip(&sums).for_each(|(v, s)| *v /= s);
    });
}
