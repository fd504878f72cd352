//! Rotation, scaling and elastic deformation of image and segmentation, and the crop of the patch.
//!
//! Without any of the three a sample is cropped, without interpolation. Random crops move the centre of the patch.

mod affine;
mod elastic;
mod grid;
mod resample;

pub use affine::{Affine, SpatialMode, slice_matrix, volume_matrix};
pub use elastic::{Displacement, Elastic, smooth_by_sigma, smooth_to_magnitude};
pub use resample::{Interpolation, OUTSIDE_LABEL, Sampling, SpatialScratch, resample, resample_with};

use std::sync::Arc;

use nnunet_base::parts::{OptionError, Options};

use super::crop::{crop, crop_centre};
use super::distribution::Distribution;
use super::pipeline::Sample;
use super::random::{SampleRng, decide};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// How patches are rotated, scaled, deformed and cropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Spatial {
    /// In space or slice by slice.
    pub mode: SpatialMode,
    /// Probability of rotating a sample.
    pub rotation_probability: f64,
    /// Probability of each axis of a rotated sample.
    pub axis_rotation_probability: f64,
    /// Angle in radians, drawn for each axis.
    pub rotation: Distribution,
    /// Probability of scaling a sample.
    pub scaling_probability: f64,
    /// Factor of the sampling grid: larger numbers make objects smaller.
    pub scaling: Distribution,
    /// Probability that all axes of a scaled sample have one factor.
    pub synchronised_scaling: f64,
    /// Probability of deforming a sample.
    pub elastic_probability: f64,
    /// How it is deformed.
    pub elastic: Elastic,
    /// Whether a deformed patch keeps its centre of mass.
    pub centred_deformation: bool,
    /// Interpolation of the image.
    pub image: Interpolation,
    /// Interpolation of the segmentation.
    pub segmentation: Interpolation,
    /// Distance in voxels that the centre of a random crop keeps from the border; `None` crops the middle.
    pub random_crop: Option<usize>,
}

impl Spatial {
    /// Options, with their defaults. Rotation: `rotation_probability` (0), `axis_rotation_probability` (1), `rotation` in
    /// degrees (what the patch allows). Scaling: `scaling_probability` (0), `scaling` ([0.7, 1.4]), `synchronised_scaling`
    /// (a probability, 1). Deformation: `elastic_probability` (0), `elastic` (`magnitude` or `alpha_sigma`) with
    /// `elastic_scale` ([0, 0.2]), `elastic_synchronised_scale` (0) and `elastic_magnitude` ([0, 0.2] voxels), or with
    /// `elastic_alpha` ([0, 900], in slices [0, 200]) and `elastic_sigma` ([9, 13] voxels); `centred_deformation` (true
    /// for `magnitude`). Interpolation: `image` and `segmentation`, `linear` or `nearest`. Crop: `random_crop` (false) and
    /// `border_distance` (0).
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let mode = context.geometry.mode;
        let rotation = match Distribution::optional(options, "rotation")? {
            Some(degrees) => degrees.map(f64::to_radians),
            None => Distribution::Ranges(vec![context.geometry.rotation]),
        };
        let factors = Distribution::uniform(0.7, 1.4);
        let (elastic, centred) = read_elastic(options, mode)?;
        let border_distance = options.count("border_distance", 0)?;
        Ok(Some(Arc::new(Self {
            mode,
            rotation_probability: options.probability("rotation_probability", 0.0)?,
            axis_rotation_probability: options.probability("axis_rotation_probability", 1.0)?,
            rotation,
            scaling_probability: options.probability("scaling_probability", 0.0)?,
            scaling: Distribution::read_within(options, "scaling", factors, [0.01, 100.0])?,
            synchronised_scaling: options.probability("synchronised_scaling", 1.0)?,
            elastic_probability: options.probability("elastic_probability", 0.0)?,
            elastic,
            centred_deformation: options.switch("centred_deformation", centred)?,
            image: read_interpolation(options, "image")?,
            segmentation: read_interpolation(options, "segmentation")?,
            random_crop: options.switch("random_crop", false)?.then_some(border_distance),
        })))
    }

    /// Rotation and scaling of one sample, and whether it is deformed; `None` for a crop without interpolation.
    fn draw(&self, rng: &mut SampleRng) -> Option<(Affine, bool)> {
        let rotate = decide(self.rotation_probability, rng);
        let scale = decide(self.scaling_probability, rng);
        let deform = decide(self.elastic_probability, rng);
        if !rotate && !scale && !deform {
            return None;
        }
        let affine = match self.mode {
            SpatialMode::Volume => {
                let angles = self.draw_angles::<3>(rotate, rng);
                Affine::Volume(volume_matrix(angles, self.draw_factors(scale, rng)))
            }
            SpatialMode::Slices => {
                let [angle] = self.draw_angles::<1>(rotate, rng);
                Affine::Slices(slice_matrix(angle, self.draw_factors(scale, rng)))
            }
        };
        Some((affine, deform))
    }

    fn draw_angles<const N: usize>(&self, rotate: bool, rng: &mut SampleRng) -> [f64; N] {
        let mut angles = [0.0; N];
        if rotate {
            angles.iter_mut().for_each(|angle| *angle = self.rotation.sample(rng));
            for angle in &mut angles {
                if !decide(self.axis_rotation_probability, rng) {
                    *angle = 0.0;
                }
            }
        }
        angles
    }

    fn draw_factors<const N: usize>(&self, scale: bool, rng: &mut SampleRng) -> [f64; N] {
        if !scale {
            return [1.0; N];
        }
        match decide(self.synchronised_scaling, rng) {
            true => [self.scaling.sample(rng); N],
            false => std::array::from_fn(|_| self.scaling.sample(rng)),
        }
    }

    /// Centre of the patch in a crop of `shape`, relative to the crop's own centre.
    fn draw_centre(&self, shape: [usize; 3], first_axis: usize, rng: &mut SampleRng) -> [f64; 3] {
        let Some(distance) = self.random_crop else { return [0.0; 3] };
        std::array::from_fn(|d| {
            if d < first_axis || shape[d] < 2 * distance {
                return 0.0;
            }
            let range = Distribution::uniform(distance as f64, (shape[d] - distance) as f64);
            range.sample(rng) - shape[d] as f64 / 2.0
        })
    }
}

fn read_interpolation(options: &mut Options<'_>, name: &'static str) -> Result<Interpolation, OptionError> {
    Ok(match options.word(name, &["linear", "nearest"])? {
        "nearest" => Interpolation::Nearest,
        _ => Interpolation::Linear,
    })
}

/// The deformation, and whether the patch keeps its centre of mass by default.
fn read_elastic(options: &mut Options<'_>, mode: SpatialMode) -> Result<(Elastic, bool), OptionError> {
    let positive = [0.0, f64::INFINITY];
    let strongest = if mode == SpatialMode::Volume { 900.0 } else { 200.0 };
    let range = Distribution::uniform;
    Ok(match options.word("elastic", &["magnitude", "alpha_sigma"])? {
        "alpha_sigma" => {
            let alpha = Distribution::read_within(options, "elastic_alpha", range(0.0, strongest), positive)?;
            let sigma = Distribution::read_within(options, "elastic_sigma", range(9.0, 13.0), [0.0, 100.0])?;
            (Elastic::AlphaSigma { alpha, sigma }, false)
        }
        _ => {
            let scale = Distribution::read_within(options, "elastic_scale", range(0.0, 0.2), [0.0, 1.0])?;
            let synchronised_scale = options.probability("elastic_synchronised_scale", 0.0)?;
            let magnitude =
                Distribution::read_within(options, "elastic_magnitude", range(0.0, 0.2), positive)?;
            (Elastic::Magnitude { scale, synchronised_scale, magnitude }, true)
        }
    })
}

impl Transform for Spatial {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let patch = context.geometry.patch;
        let first = if self.mode == SpatialMode::Slices { 1 } else { 0 };
        let drawn = self.draw(context.rng);
        let [slices, y, x] = sample.image.shape();
        if self.mode == SpatialMode::Slices && slices != patch[0] {
            // Slices are rotated where they are: surplus ones go first.
            take_centre(sample, [patch[0], y, x]);
        }
        let shape = sample.image.shape();
        let Some((affine, deform)) = drawn else {
            let centre = self.draw_centre(shape, first, context.rng);
            return take_patch(sample, centre, patch);
        };
        let displacement = deform.then(|| {
            let scratch = &mut context.scratch.channel;
            self.elastic.draw(patch, first, self.centred_deformation, context.rng, scratch)
        });
        let shift = self.draw_centre(shape, first, context.rng).map(|c| c as f32);
        let sampling =
            Sampling { affine, displacement, shift, image: self.image, segmentation: self.segmentation };
        let scratch = &mut context.scratch.spatial;
        (sample.image, sample.segmentation) =
            resample_with(&sample.image, &sample.segmentation, &sampling, patch, scratch);
    }
}

/// Crops the patch whose centre is `centre` away from the crop's own.
fn take_patch(sample: &mut Sample, centre: [f64; 3], patch: [usize; 3]) {
    let shape = sample.image.shape();
    let start = std::array::from_fn(|d| {
        (shape[d] as f64 / 2.0 + centre[d]).floor() as isize - (patch[d] / 2) as isize
    });
    sample.image = crop(&sample.image, start, patch, 0.0);
    sample.segmentation = crop(&sample.segmentation, start, patch, OUTSIDE_LABEL);
}

/// Crops the patch in the middle.
pub(super) fn take_centre(sample: &mut Sample, patch: [usize; 3]) {
    sample.image = crop_centre(&sample.image, patch, 0.0);
    sample.segmentation = crop_centre(&sample.segmentation, patch, OUTSIDE_LABEL);
}
