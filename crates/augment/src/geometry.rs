//! What follows from the patch size: how far to rotate, whether slice by slice, and how large a crop has to be so that a
//! rotated patch finds data everywhere.
//!
//! Axis order (z, y, x); 2-D patches have one slice. Angles in radians.

use nnunet_base::parts::{OptionError, Options};

use super::error::AugmentError;
use super::random::UniformRange;
use super::spatial::SpatialMode;
use std::f64::consts::{FRAC_PI_2, PI};

/// Beyond this ratio of the longest axis to the first one, 3-D patches are rotated slice by slice.
const ANISOTROPY_THRESHOLD: f64 = 3.0;
/// Beyond this ratio of the axes, 2-D patches are rotated a little only.
const ELONGATION_THRESHOLD: f64 = 1.5;
/// Smallest scale that the crop is made for by default; the reference keeps an older range here than it samples.
pub const DEFAULT_SMALLEST_SCALE: f64 = 0.85;

/// How a list of transforms wants its patches.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchOptions {
    /// Which patches are rotated slice by slice.
    pub slices: SliceRule,
    /// Smallest scale of the sampling grid that the crop is made for, at most 1; `None` reads no more than the patch.
    pub smallest_scale: Option<f64>,
}

impl Default for PatchOptions {
    fn default() -> Self {
        Self { slices: SliceRule::Anisotropic, smallest_scale: Some(DEFAULT_SMALLEST_SCALE) }
    }
}

/// Which 3-D patches are rotated slice by slice, by any angle, instead of in space, by a few degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceRule {
    /// Those whose longest axis is more than three times the first one.
    Anisotropic,
    /// None.
    Never,
}

/// Geometry of the augmentation of one configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchGeometry {
    /// Axes of the configuration: 2 or 3.
    pub dimensions: usize,
    /// Patch that the network sees (z, y, x).
    pub patch: [usize; 3],
    /// Crop that a training patch is made from (z, y, x).
    pub initial_patch: [usize; 3],
    /// Whether the patch is rotated in space or slice by slice.
    pub mode: SpatialMode,
    /// Angles about each axis.
    pub rotation: UniformRange,
}

impl PatchGeometry {
    /// The geometry for the plans' `patch_size` (two or three numbers) by default.
    ///
    /// # Errors
    /// [`AugmentError::PatchSize`].
    pub fn new(patch_size: &[usize]) -> Result<Self, AugmentError> {
        Self::with_options(patch_size, &PatchOptions::default())
    }

    /// The geometry for the plans' `patch_size` (two or three numbers).
    ///
    /// # Errors
    /// [`AugmentError::PatchSize`].
    pub fn with_options(patch_size: &[usize], options: &PatchOptions) -> Result<Self, AugmentError> {
        let invalid = || AugmentError::PatchSize { found: patch_size.to_vec() };
        if patch_size.contains(&0) {
            return Err(invalid());
        }
        let longest = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(1) as f64;
        match *patch_size {
            [y, x] => {
                let elongated = longest(patch_size) / y.min(x) as f64 > ELONGATION_THRESHOLD;
                let angle = if elongated { PI / 12.0 } else { PI };
                let [initial_y, initial_x] =
                    options.smallest_scale.map_or([y, x], |scale| initial_slice([y, x], angle, scale));
                Ok(Self {
                    dimensions: 2,
                    patch: [1, y, x],
                    initial_patch: [1, initial_y, initial_x],
                    mode: SpatialMode::Slices,
                    rotation: UniformRange::new(-angle, angle),
                })
            }
            [z, y, x] => {
                let anisotropic = options.slices == SliceRule::Anisotropic
                    && longest(patch_size) / z as f64 > ANISOTROPY_THRESHOLD;
                let angle = if anisotropic { PI } else { PI / 6.0 };
                let mut initial_patch =
                    options.smallest_scale.map_or([z, y, x], |scale| initial_volume([z, y, x], angle, scale));
                if anisotropic {
                    initial_patch[0] = z;
                }
                Ok(Self {
                    dimensions: 3,
                    patch: [z, y, x],
                    initial_patch,
                    mode: if anisotropic { SpatialMode::Slices } else { SpatialMode::Volume },
                    rotation: UniformRange::new(-angle, angle),
                })
            }
            _ => Err(invalid()),
        }
    }

    /// First of (z, y, x) that is an axis of the configuration's own patch.
    pub fn first_axis(&self) -> usize {
        3 - self.dimensions.min(3)
    }

    /// Which of (z, y, x) are among `axes` of the configuration's own patch (0..dimensions).
    pub fn spatial_axes(&self, axes: &[usize]) -> [bool; 3] {
        let first = self.first_axis();
        std::array::from_fn(|d| d >= first && axes.contains(&(d - first)))
    }

    /// The option `name`, a list of axes of the configuration's own patch (0..dimensions), as flags of (z, y, x).
    ///
    /// # Errors
    /// Anything but axes that the patch has.
    pub fn axes_option(
        &self,
        options: &mut Options<'_>,
        name: &'static str,
    ) -> Result<Option<[bool; 3]>, OptionError> {
        let Some(axes) = options.optional_counts(name)? else { return Ok(None) };
        if axes.iter().any(|axis| *axis >= self.dimensions) {
            return Err(
                options.invalid(name, format!("axes of the patch, from 0 to {}", self.dimensions - 1))
            );
        }
        Ok(Some(self.spatial_axes(&axes)))
    }
}

/// Crop for a 3-D patch rotated by up to `angle` about one axis at a time: per axis, the largest
/// coordinate that the patch's own corner takes, over the smallest scale, truncated.
pub fn initial_volume(patch: [usize; 3], angle: f64, smallest_scale: f64) -> [usize; 3] {
    let corner = patch.map(|s| s as f64);
    let mut extent = corner;
    for axis in 0..3 {
        let (first, second) = ((axis + 1) % 3, (axis + 2) % 3);
        let [a, b] = rotate(corner[first], corner[second], angle);
        extent[first] = extent[first].max(a.abs());
        extent[second] = extent[second].max(b.abs());
    }
    extent.map(|e| (e / smallest_scale) as usize)
}

/// Crop for a 2-D patch rotated by up to `angle`; see [`initial_volume`].
pub fn initial_slice(patch: [usize; 2], angle: f64, smallest_scale: f64) -> [usize; 2] {
    let corner = patch.map(|s| s as f64);
    let rotated = rotate(corner[0], corner[1], angle);
    [0, 1].map(|d| (corner[d].max(rotated[d].abs()) / smallest_scale) as usize)
}

/// The row vector (a, b) times the rotation matrix, for an angle of at most a quarter turn.
fn rotate(a: f64, b: f64, angle: f64) -> [f64; 2] {
    let (sine, cosine) = angle.min(FRAC_PI_2).sin_cos();
    [a * cosine + b * sine, b * cosine - a * sine]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_patches() {
        let cube = PatchGeometry::new(&[128, 128, 128]).unwrap();
        assert_eq!((cube.initial_patch, cube.mode), ([205, 205, 205], SpatialMode::Volume));
        assert_eq!(cube.rotation, UniformRange::new(-PI / 6.0, PI / 6.0));
        let flat = PatchGeometry::new(&[16, 320, 256]).unwrap();
        assert_eq!((flat.initial_patch[0], flat.mode), (16, SpatialMode::Slices));
        assert_eq!(flat.rotation.high, PI);
        let slice = PatchGeometry::new(&[56, 40]).unwrap();
        assert_eq!((slice.patch, slice.rotation.high), ([1, 56, 40], PI));
        assert_eq!(PatchGeometry::new(&[64, 40]).unwrap().rotation.high, PI / 12.0);
        assert_eq!(slice.spatial_axes(&[0]), [false, true, false]);
        assert_eq!(cube.spatial_axes(&[0, 2]), [true, false, true]);
    }

    #[test]
    fn lists_decide_about_slices_and_crops() {
        let patch = [16, 320, 256];
        let never = PatchOptions { slices: SliceRule::Never, ..PatchOptions::default() };
        let volume = PatchGeometry::with_options(&patch, &never).unwrap();
        assert_eq!((volume.mode, volume.rotation.high), (SpatialMode::Volume, PI / 6.0));
        assert!(volume.initial_patch[0] > 16);
        let none = PatchOptions { smallest_scale: None, ..PatchOptions::default() };
        assert_eq!(PatchGeometry::with_options(&patch, &none).unwrap().initial_patch, patch);
        assert_eq!(PatchGeometry::with_options(&[20, 30], &none).unwrap().initial_patch, [1, 20, 30]);
    }

    #[test]
    fn bad_patch_sizes_are_named() {
        for bad in [&[][..], &[5], &[1, 2, 3, 4], &[8, 0, 8]] {
            let error = PatchGeometry::new(bad).unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }
}
