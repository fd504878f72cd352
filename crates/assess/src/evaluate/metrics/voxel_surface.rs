//! How far the surfaces of two segmentations are from each other, in mm, voxel by voxel.
//!
//! The surface of a mask are its voxels that share a face with a voxel outside of it; beyond the image is
//! outside. Distances are between centres of voxels, from every surface voxel to the nearest of the other
//! surface:
//!
//! - HD95: the larger of the two 95th percentiles (interpolated as NumPy does), prediction to reference and back;
//! - ASSD: the mean of the distances in both directions together;
//! - NSD: the share of the voxels of both surfaces that are at most 1 mm from the other.
//!
//! Where both masks are empty all three are NaN; where one is, HD95 and ASSD are infinite and NSD is 0. Voxels
//! whose reference is the ignore label belong to neither mask.

use std::sync::Arc;

use nnunet_volume::morphology::{bounding_box, squared_distances_from};
use nnunet_volume::{SpacingMm, Volume};

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, no_argument};
use crate::statistics::percentile;

/// Distance in mm up to which two surfaces count as the same for NSD.
pub const TOLERANCE_MM: f64 = 1.0;

/// `HD95`, `ASSD` and `NSD`.
#[derive(Debug)]
pub struct VoxelSurface;

impl VoxelSurface {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        no_argument(argument)?;
        Ok(Arc::new(Self))
    }
}

impl Metric for VoxelSurface {
    fn keys(&self) -> Vec<String> {
        ["HD95", "ASSD", "NSD"].map(str::to_owned).into()
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let masks = case.masks();
        let SurfaceDistances { hd95, assd, nsd } =
            surface_distances(&masks.reference, &masks.prediction, case.spacing());
        Ok(vec![hd95, assd, nsd])
    }
}

/// Distances between two surfaces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurfaceDistances {
    /// 95th percentile of the Hausdorff distance in mm.
    pub hd95: f64,
    /// Average symmetric surface distance in mm.
    pub assd: f64,
    /// Normalised surface Dice at [`TOLERANCE_MM`].
    pub nsd: f64,
}

/// Compares two masks of one shape (z, y, x) with `spacing` (z, y, x) in mm.
pub fn surface_distances(
    reference: &Volume<bool>,
    prediction: &Volume<bool>,
    spacing: SpacingMm,
) -> SurfaceDistances {
    let either = reference.data().iter().zip(prediction.data()).map(|(a, b)| *a || *b).collect();
    let bounds = Volume::new(reference.shape(), either).and_then(|either| bounding_box(&either));
    let Some(bounds) = bounds else {
        return SurfaceDistances { hd95: f64::NAN, assd: f64::NAN, nsd: f64::NAN };
    };
    // Nothing is set beyond the box, so that it decides as the whole image does.
    let surfaces = [surface(&reference.crop(&bounds)), surface(&prediction.crop(&bounds))];
    if surfaces.iter().any(|surface| !surface.data().contains(&true)) {
        return SurfaceDistances { hd95: f64::INFINITY, assd: f64::INFINITY, nsd: 0.0 };
    }
    let [to_prediction, to_reference] =
        [directed(&surfaces[0], &surfaces[1], spacing), directed(&surfaces[1], &surfaces[0], spacing)];
    let all = || to_prediction.iter().chain(&to_reference);
    let count = all().count() as f64;
    SurfaceDistances {
        hd95: percentile(&to_prediction, 0.95).max(percentile(&to_reference, 0.95)),
        assd: all().sum::<f64>() / count,
        nsd: all().filter(|distance| **distance <= TOLERANCE_MM).count() as f64 / count,
    }
}

/// The voxels of `mask` that share a face with an unset voxel or with the outside.
fn surface(mask: &Volume<bool>) -> Volume<bool> {
    let shape = mask.shape();
    let [depth, height, width] = shape;
    let mut surface = Volume::filled(shape, false);
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                let i = mask.index(z, y, x);
                let set = |inside: bool, step: isize| {
                    inside && i.checked_add_signed(step).is_some_and(|neighbour| mask.data()[neighbour])
                };
                let (row, plane) = (width as isize, (height * width) as isize);
                let inner = set(z > 0, -plane)
                    && set(z + 1 < depth, plane)
                    && set(y > 0, -row)
                    && set(y + 1 < height, row)
                    && set(x > 0, -1)
                    && set(x + 1 < width, 1);
                surface.data_mut()[i] = mask.data()[i] && !inner;
            }
        }
    }
    surface
}

/// Distances from the voxels of `from` to the nearest of `to`, ascending.
fn directed(from: &Volume<bool>, to: &Volume<bool>, spacing: SpacingMm) -> Vec<f64> {
    let squared = squared_distances_from(from, to, spacing);
    let mut distances: Vec<f64> = squared.into_iter().map(f64::sqrt).collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(shape: [usize; 3], set: impl Fn([usize; 3]) -> bool) -> Volume<bool> {
        let mut mask = Volume::filled(shape, false);
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let i = mask.index(z, y, x);
                    mask.data_mut()[i] = set([z, y, x]);
                }
            }
        }
        mask
    }

    #[test]
    fn a_cube_moved_by_two_slices() {
        let cube = |from: usize| {
            mask([12, 9, 9], move |[z, y, x]| {
                (from..from + 5).contains(&z) && (2..7).contains(&y) && (2..7).contains(&x)
            })
        };
        // Of 98 surface voxels of each: the far end of 25 is 2 slices away, its neighbours by the sides less;
        // the sides overlap for three slices.
        let found = surface_distances(&cube(1), &cube(3), SpacingMm::new([0.5, 1.0, 1.0]));
        assert_eq!(found.hd95, 1.0);
        assert_eq!(found.nsd, 1.0);
        // 25 at the end: 16 of its rim and 9 inside are 1 mm away. The next slice: 16 of its rim 0.5 mm. The
        // end that lies inside the other cube: its rim of 16 is on the other surface, of its 9 voxels 8 are
        // nearest to a side and 1 to the end: 1 mm.
        let expected = (25.0 * 1.0 + 16.0 * 0.5 + 9.0 * 1.0) / 98.0;
        assert!((found.assd - expected).abs() < 1e-12, "{} {expected}", found.assd);
        let far = surface_distances(&cube(1), &cube(3), SpacingMm::new([2.0, 1.0, 1.0]));
        assert_eq!(far.hd95, 4.0);
        assert!(far.nsd < 1.0);
        assert_eq!(
            surface_distances(&cube(1), &cube(1), SpacingMm::UNIT),
            SurfaceDistances { hd95: 0.0, assd: 0.0, nsd: 1.0 }
        );
    }

    #[test]
    fn empty_masks() {
        let (empty, full) = (mask([2, 3, 4], |_| false), mask([2, 3, 4], |_| true));
        let both = surface_distances(&empty, &empty, SpacingMm::UNIT);
        assert!(both.hd95.is_nan() && both.assd.is_nan() && both.nsd.is_nan());
        for (a, b) in [(&empty, &full), (&full, &empty)] {
            let one = surface_distances(a, b, SpacingMm::UNIT);
            assert_eq!((one.hd95, one.assd, one.nsd), (f64::INFINITY, f64::INFINITY, 0.0));
        }
    }

    #[test]
    fn percentiles_are_numpys() {
        assert_eq!(percentile(&[0.0, 1.0, 2.0, 3.0, 10.0], 0.95), 8.599999999999998);
        assert_eq!(percentile(&[4.0], 0.95), 4.0);
    }
}
