//! Transforms of the segmentation and of what the image shares with it: labels that vanish, images masked by the
//! segmentation, the previous stage's segmentation as channels of the image.

use std::sync::Arc;

use nnunet_base::parts::Options;
use nnunet_data::preprocess::append_one_hot;
use nnunet_volume::ChannelVolume;

use super::distribution::image_channels;
use super::error::AugmentError;
use super::pipeline::Sample;
use super::targets::{mask_outside, replace_label};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Sets channels to 0 outside of the nonzero mask, where the segmentation is negative.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskOutside {
    /// Channels to mask.
    pub channels: Vec<usize>,
}

impl MaskOutside {
    /// Option: `channels` (those normalised within the nonzero mask). Nothing to do without any.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let masked = || {
            let flags = context.facts.use_mask_for_norm.iter().enumerate();
            flags.filter(|(_, masked)| **masked).map(|(c, _)| c).collect()
        };
        let channels = image_channels(options, context)?.unwrap_or_else(masked);
        Ok(if channels.is_empty() { None } else { Some(Arc::new(Self { channels })) })
    }
}

impl Transform for MaskOutside {
    fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
        for &c in &self.channels {
            mask_outside(sample.image.channel_mut(c), sample.segmentation.channel(0));
        }
    }

    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        check_image_channels(&self.channels, sample)
    }
}

/// That `sample` has each of `channels` in its image.
pub(super) fn check_image_channels(channels: &[usize], sample: &Sample) -> Result<(), AugmentError> {
    let found = sample.image.channels();
    match channels.iter().max() {
        Some(last) if *last >= found => {
            Err(AugmentError::Channels { what: "image", found, expected: last + 1 })
        }
        _ => Ok(()),
    }
}

/// Replaces a label by another one.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveLabel {
    /// Label that vanishes.
    pub label: i16,
    /// Label that its voxels get.
    pub replacement: i16,
    /// Channels of the segmentation; `None` for all.
    pub channels: Option<Vec<usize>>,
}

impl RemoveLabel {
    /// Options: `label`, `replacement` (0) and `channels`. The outside (-1) becomes background without this transform
    /// too, after the last one.
    pub(super) fn build(options: &mut Options<'_>, _: &BuildContext<'_>) -> BuiltTransform {
        let expected = "a label: a whole number that fits 16 bits";
        let is_label = |value: f64| value.fract() == 0.0 && i16::try_from(value as i64).is_ok();
        Ok(Some(Arc::new(Self {
            label: options.number_where("label", -1.0, expected, is_label)? as i16,
            replacement: options.number_where("replacement", 0.0, expected, is_label)? as i16,
            channels: options.optional_counts("channels")?,
        })))
    }
}

impl Transform for RemoveLabel {
    fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
        for c in 0..sample.segmentation.channels() {
            if self.channels.as_ref().is_none_or(|channels| channels.contains(&c)) {
                replace_label(sample.segmentation.channel_mut(c), self.label, self.replacement);
            }
        }
    }
}

/// Moves the previous stage's segmentation into the image, one channel per label.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviousStageChannels {
    /// Labels in the order of their channels.
    pub labels: Vec<i16>,
}

impl PreviousStageChannels {
    /// No options. Nothing to do outside of a cascade. Without this transform it happens after the last one.
    pub(super) fn build(_: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(match &context.facts.cascade_labels {
            Some(labels) => Some(Arc::new(Self { labels: labels.clone() })),
            None => None,
        })
    }
}

impl Transform for PreviousStageChannels {
    fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
        move_previous_stage(sample, &self.labels);
    }
}

/// Moves channel 1 of the segmentation into the image as one channel for each of `labels`; does nothing where it was
/// moved before.
pub(super) fn move_previous_stage(sample: &mut Sample, labels: &[i16]) {
    if sample.segmentation.channels() < 2 {
        return;
    }
    let empty = ChannelVolume::filled(0, sample.image.shape(), 0.0);
    let image = std::mem::replace(&mut sample.image, empty);
    sample.image = append_one_hot(image, sample.segmentation.channel(1), labels);
    let reference = sample.segmentation.channel(0).to_vec();
    if let Some(segmentation) = ChannelVolume::new(1, sample.image.shape(), reference) {
        sample.segmentation = segmentation;
    }
}
