//! All built-in transforms by name.

use std::sync::Arc;

use nnunet_base::parts::{Named, Options};

use super::blank_rectangles::BlankRectangles;
use super::blur::GaussianBlur;
use super::brightness::{Brightness, BrightnessShift};
use super::cascade::{RandomBinaryOperator, RemoveComponent};
use super::channel_misalignment::ChannelMisalignment;
use super::contrast::Contrast;
use super::cut_off::CutOff;
use super::drop_channels::DropChannels;
use super::gamma::Gamma;
use super::invert::Invert;
use super::labels::{MaskOutside, PreviousStageChannels, RemoveLabel};
use super::local::{BrightnessGradient, LocalContrast, LocalGamma, LocalSmoothing};
use super::low_resolution::LowResolution;
use super::median_filter::MedianFilter;
use super::mirror::Mirror;
use super::noise::GaussianNoise;
use super::one_of::OneOf;
use super::rician_noise::RicianNoise;
use super::rotate90::{Rotate90, TransposeAxes};
use super::sharpen::Sharpen;
use super::spatial::Spatial;
use super::transform::{BuildContext, BuiltTransform, TransformBuilder};

/// All built-in transforms. Every one of them takes the option `probability` (per sample, 1 unless given) as well.
///
/// ```
/// use nnunet_augment::{Transform, TransformContext, Sample, transforms};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Negative;
///
/// impl Transform for Negative {
///     fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
///         sample.image.data_mut().iter_mut().for_each(|v| *v = -*v);
///     }
/// }
///
/// let mut transforms = transforms();
/// transforms.register("negative", "minus the image", Arc::new(|_, _| Ok(Some(Arc::new(Negative)))))?;
/// # Ok::<(), nnunet_base::parts::AlreadyRegistered>(())
/// ```
pub fn transforms() -> Named<TransformBuilder> {
    let part = builder;
    Named::new("transform")
        .with("spatial", "rotation, scaling, elastic deformation, crop of the patch", part(Spatial::build))
        .with("rotate90", "quarter turns in the plane of axes of one length", part(Rotate90::build))
        .with("transpose", "axes of one length change places", part(TransposeAxes::build))
        .with("mirror", "mirroring along each axis", part(Mirror::build))
        .with("channel_misalignment", "channels moved against the others", part(ChannelMisalignment::build))
        .with("gaussian_noise", "additive normal noise", part(GaussianNoise::build))
        .with("rician_noise", "noise of magnitude images", part(RicianNoise::build))
        .with("gaussian_blur", "Gaussian blur", part(GaussianBlur::build))
        .with("median_filter", "median filter", part(MedianFilter::build))
        .with("sharpen", "a multiple of the Laplacian is added", part(Sharpen::build))
        .with("low_resolution", "downsampled and upsampled again", part(LowResolution::build))
        .with("brightness", "times a factor", part(Brightness::build))
        .with("brightness_shift", "plus a normal number", part(BrightnessShift::build))
        .with("brightness_gradient", "plus a Gaussian bump", part(BrightnessGradient::build))
        .with("contrast", "distance from the mean times a factor", part(Contrast::build))
        .with("local_contrast", "contrast around one place", part(LocalContrast::build))
        .with("gamma", "power of the rescaled image", part(Gamma::build))
        .with("local_gamma", "gamma around one place", part(LocalGamma::build))
        .with("local_smoothing", "smoothing around one place", part(LocalSmoothing::build))
        .with("invert", "mirrored about the mean", part(Invert::build))
        .with("cut_off", "clamped to percentiles", part(CutOff::build))
        .with("blank_rectangles", "boxes replaced by their mean", part(BlankRectangles::build))
        .with("mask_outside", "0 outside of the nonzero mask", part(MaskOutside::build))
        .with("remove_label", "one label replaced by another", part(RemoveLabel::build))
        .with(
            "previous_stage_channels",
            "a cascade's previous segmentation as channels",
            part(PreviousStageChannels::build),
        )
        .with(
            "binary_operator",
            "labels of the previous stage dilated, eroded, opened or closed",
            part(RandomBinaryOperator::build),
        )
        .with("remove_component", "components of the previous stage removed", part(RemoveComponent::build))
        .with(
            "drop_channels",
            "channels set to 0, for sequences that may be missing",
            part(DropChannels::build),
        )
        .with("one_of", "one of several transforms", part(OneOf::build))
}

fn builder(build: fn(&mut Options<'_>, &BuildContext<'_>) -> BuiltTransform) -> TransformBuilder {
    Arc::new(build)
}
