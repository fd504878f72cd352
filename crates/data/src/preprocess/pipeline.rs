//! One case from its images to the network's input: transpose, crop, normalise, resample.
//!
//! Arrays (c, z, y, x), f32; spacings in mm. Source: the reference's default preprocessor. Tolerance:
//! data within 1e-4 after normalisation, segmentations and class locations equal.

use std::sync::Arc;

use nnunet_volume::resample::{Method, resample_data, resample_labels};
use nnunet_volume::{ChannelVolume, SpacingMm, Volume};

use super::class_locations::{sample_locations, sampled_classes};
use super::crop::{mark_outside, transpose};
use super::error::PreprocessError;
use super::properties::Properties;
use crate::fingerprint::crop::{CropBox, nonzero_box};
use crate::normalization::{Normalization, NormalizationInput};
use crate::parts::Parts;
use crate::plan::{Configuration, PREPROCESSORS, Plans, resampled_shape, transposed};
use nnunet_base::spelling::closest_first;
use nnunet_dataset::{ImageGeometry, LabelManager, NonFinite};

/// Most voxels of a resampled image: more means a wrong spacing in the header.
const LARGEST_IMAGE: u64 = 1 << 33;

/// A case as read from its files.
#[derive(Debug, Clone)]
pub struct RawCase {
    /// Name, for messages.
    pub identifier: String,
    /// Voxels (c, z, y, x).
    pub images: ChannelVolume<f32>,
    /// Where they are.
    pub geometry: ImageGeometry,
    /// Labels (z, y, x) on the same grid; training cases have them.
    pub segmentation: Option<Volume<i16>>,
    /// Channels that the case does not have, ascending; their voxels are 0, and stay so.
    pub absent: Vec<usize>,
}

/// A case as the network sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PreprocessedCase {
    /// Normalised, resampled voxels (c, z, y, x), axes transposed.
    pub data: ChannelVolume<f32>,
    /// Resampled labels (z, y, x), axes transposed, -1 outside the nonzero mask; if the case had some.
    pub segmentation: Option<Volume<i16>>,
    /// The way back.
    pub properties: Properties,
}

/// Preprocesses cases for one configuration of the plans.
#[derive(Debug, Clone)]
pub struct Preprocessor<'a> {
    plans: &'a Plans,
    configuration: &'a Configuration,
    schemes: Vec<Arc<dyn Normalization>>,
    /// `None`: everything keeps its grid.
    data_resampling: Option<Method>,
    segmentation_resampling: Option<Method>,
}

impl<'a> Preprocessor<'a> {
    /// Takes what the configuration asks for from `parts`.
    ///
    /// # Errors
    /// A preprocessor, normalisation or resampling function that is not known.
    pub fn new(
        plans: &'a Plans,
        configuration: &'a Configuration,
        parts: &Parts,
    ) -> Result<Self, PreprocessError> {
        let unknown = |key, found: &str, known: String| PreprocessError::Unknown {
            place: format!("{}, configuration {}", plans.plans_name(), configuration.name),
            key,
            found: found.to_owned(),
            known,
        };
        let preprocessor = configuration.preprocessor_name.as_str();
        if !PREPROCESSORS.contains(&preprocessor) {
            let known = closest_first(preprocessor, PREPROCESSORS).join(", ");
            return Err(unknown("preprocessor_name", preprocessor, known));
        }
        let schemes = configuration
            .normalization_schemes
            .iter()
            .map(|name| {
                let scheme = parts.normalizations.get(name).cloned();
                scheme.map_err(|error| unknown("normalization_schemes", name, error.known.join(", ")))
            })
            .collect::<Result<_, _>>()?;
        // Better known now than after a network has run.
        configuration.resampling_probabilities.method(&parts.resampling)?;
        Ok(Self {
            plans,
            configuration,
            schemes,
            data_resampling: configuration.resampling_data.method(&parts.resampling)?,
            segmentation_resampling: configuration.resampling_seg.method(&parts.resampling)?,
        })
    }

    /// Shape (z, y, x) of a preprocessed case whose transposed, cropped image has `shape` voxels
    /// (z, y, x) at `spacing` mm.
    pub fn output_shape(&self, shape: [usize; 3], spacing: SpacingMm) -> Result<[usize; 3], PreprocessError> {
        if self.data_resampling.is_none() {
            return Ok(shape);
        }
        let target = self.configuration.target_spacing_zyx(spacing);
        let to = resampled_shape(shape, spacing, target);
        let voxels = to.iter().fold(1u64, |all, &edge| all.saturating_mul(edge as u64));
        if voxels == 0 || voxels > LARGEST_IMAGE {
            return Err(PreprocessError::ResampledShape { shape, from: spacing, to, target });
        }
        Ok(to)
    }

    /// Preprocesses a case. With a segmentation, `labels` says which classes are located; without,
    /// only the images and the way back are made.
    pub fn run(
        &self,
        case: RawCase,
        labels: Option<&LabelManager>,
    ) -> Result<PreprocessedCase, PreprocessError> {
        let RawCase { identifier, images, geometry, segmentation, absent } = case;
        if images.channels() != self.schemes.len() {
            return Err(PreprocessError::Channels {
                case: identifier,
                files: Vec::new(),
                found: images.channels(),
                expected: self.schemes.len(),
            });
        }
        if let Some(segmentation) = segmentation.as_ref().filter(|s| s.shape() != images.shape()) {
            return Err(PreprocessError::SegmentationShape {
                case: identifier,
                segmentation: segmentation.shape(),
                images: images.shape(),
            });
        }

        let order = self.plans.transpose_forward();
        let images = transposed_images(images, order);
        let segmentation = segmentation.map(|segmentation| transposed_labels(segmentation, order));
        let spacing = geometry.spacing_zyx().transposed(order);

        let shape_before_cropping = images.shape();
        let crop = nonzero_box(&images);
        let whole = crop == CropBox::whole(shape_before_cropping);
        let mut images = if whole { images } else { crop.cut_channels(&images) };
        let mut segmentation =
            segmentation.map(|segmentation| if whole { segmentation } else { crop.cut(&segmentation) });
        if let Some(segmentation) = &mut segmentation {
            mark_outside(&images, segmentation);
        }
        self.normalize(&mut images, segmentation.as_ref(), &absent)?;

        let shape = crop.shape();
        let target_spacing = self.configuration.target_spacing_zyx(spacing);
        let target_shape = self.output_shape(shape, spacing)?;
        let data = match &self.data_resampling {
            None => images,
            Some(method) => resample_data(images, target_shape, spacing, target_spacing, method)?,
        };
        let segmentation = match (segmentation, &self.segmentation_resampling) {
            (Some(segmentation), Some(method)) => {
                Some(resample_labels(segmentation, target_shape, spacing, target_spacing, method)?)
            }
            (segmentation, _) => segmentation,
        };
        if let Some(segmentation) = segmentation.as_ref().filter(|s| s.shape() != data.shape()) {
            return Err(PreprocessError::SegmentationShape {
                case: identifier,
                segmentation: segmentation.shape(),
                images: data.shape(),
            });
        }
        let class_locations = match (&segmentation, labels) {
            (Some(segmentation), Some(labels)) => {
                Some(sample_locations(segmentation, &sampled_classes(labels)))
            }
            _ => None,
        };
        let properties = Properties {
            spacing: geometry.spacing_zyx(),
            geometry,
            shape_before_cropping,
            bbox_used_for_cropping: crop,
            shape_after_cropping_and_before_resampling: shape,
            class_locations,
            absent_channels: absent,
            annotated_labels: None,
            others: Default::default(),
        };
        Ok(PreprocessedCase { data, segmentation, properties })
    }

    /// Normalises every channel in place but for the absent ones, whose zeros are the mean of z-scored channels. The mask is that of the marked segmentation, or is made
    /// where a channel needs one and there is no segmentation.
    fn normalize(
        &self,
        images: &mut ChannelVolume<f32>,
        segmentation: Option<&Volume<i16>>,
        absent: &[usize],
    ) -> Result<(), PreprocessError> {
        let uses_mask = &self.configuration.use_mask_for_norm;
        let own_mask = (uses_mask.contains(&true) && segmentation.is_none()).then(|| {
            let mut mask = Volume::filled(images.shape(), 0);
            mark_outside(images, &mut mask);
            mask
        });
        let mask = segmentation.or(own_mask.as_ref()).map(Volume::data);
        let shape = images.shape();
        for (channel, scheme) in self.schemes.iter().enumerate() {
            if absent.contains(&channel) {
                continue;
            }
            let input = NormalizationInput {
                channel,
                mask: mask.filter(|_| uses_mask.get(channel).copied().unwrap_or(false)),
                intensities: self.plans.intensity(channel),
            };
            scheme.run(images.channel_mut(channel), &input)?;
            if let Some(found) = NonFinite::in_channel(images.channel(channel), shape) {
                let scheme = self.configuration.normalization_schemes[channel].clone();
                return Err(PreprocessError::NonFinite { channel, scheme, found });
            }
        }
        Ok(())
    }
}

fn transposed_images(images: ChannelVolume<f32>, order: [usize; 3]) -> ChannelVolume<f32> {
    if order == [0, 1, 2] {
        return images;
    }
    let (channels, shape) = (images.channels(), images.shape());
    let mut data = Vec::with_capacity(images.data().len());
    for c in 0..channels {
        data.extend(transpose(images.channel(c), shape, order));
    }
    match ChannelVolume::new(channels, transposed(shape, order), data) {
        Some(turned) => turned,
        None => unreachable!("transposing keeps the number of voxels"),
    }
}

fn transposed_labels(labels: Volume<i16>, order: [usize; 3]) -> Volume<i16> {
    if order == [0, 1, 2] {
        return labels;
    }
    let shape = labels.shape();
    match Volume::new(transposed(shape, order), transpose(labels.data(), shape, order)) {
        Some(turned) => turned,
        None => unreachable!("transposing keeps the number of voxels"),
    }
}
