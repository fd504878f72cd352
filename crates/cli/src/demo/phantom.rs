//! One synthetic case: a body with an organ and a lesion, not separable by intensity alone.
//!
//! The organ is brighter than the body, but so is a decoy of another shape; the lesion inside of the organ
//! is brighter still, and so is the tip of the decoy. Smooth texture, a bias field and noise lie over all.

use nnunet::volume::Volume;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal, Uniform};
use rand_pcg::Pcg64;

/// Shape (z, y, x) in voxels.
const SHAPE: [usize; 3] = [24, 32, 32];

/// Image and labels of a case.
pub(super) struct Phantom {
    pub(super) image: Volume<f32>,
    /// 0 background, 1 organ, 2 lesion.
    pub(super) labels: Volume<u8>,
}

/// An axis-aligned ellipsoid.
struct Ellipsoid {
    centre: [f64; 3],
    radii: [f64; 3],
}

impl Ellipsoid {
    fn contains(&self, voxel: [f64; 3]) -> bool {
        (0..3).map(|a| ((voxel[a] - self.centre[a]) / self.radii[a]).powi(2)).sum::<f64>() <= 1.0
    }
}

/// Draws numbers of one case.
struct Draw(Pcg64);

impl Draw {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        // Bounds are constants of this file with low < high.
        Uniform::new(low, high).map_or(low, |range| range.sample(&mut self.0))
    }
}

/// The case of a number; the same number gives the same case.
pub(super) fn make(number: u64) -> Phantom {
    let mut draw = Draw(Pcg64::seed_from_u64(number));
    let middle: [f64; 3] = SHAPE.map(|n| n as f64 / 2.0);
    let body = Ellipsoid { centre: middle, radii: [11.5, 14.5, 14.5] };
    let organ = Ellipsoid {
        centre: std::array::from_fn(|a| middle[a] + draw.between(-2.0, 2.0)),
        radii: [draw.between(6.5, 8.0), draw.between(6.5, 8.5), draw.between(6.5, 8.5)],
    };
    let lesion_radius = draw.between(3.0, 4.5);
    let lesion = Ellipsoid {
        centre: std::array::from_fn(|a| organ.centre[a] + draw.between(-2.0, 2.0)),
        radii: [lesion_radius; 3],
    };
    // A bright rod beside the organ, towards one corner.
    let decoy = Ellipsoid {
        centre: [middle[0], middle[1] - 11.0 + draw.between(-1.0, 1.0), middle[2] - 6.0],
        radii: [10.0, 2.0, 2.0],
    };
    let waves: Vec<([f64; 3], f64)> = (0..4)
        .map(|_| (std::array::from_fn(|_| draw.between(0.1, 0.5)), draw.between(0.0, std::f64::consts::TAU)))
        .collect();
    let bias: [f64; 3] = std::array::from_fn(|_| draw.between(-0.25, 0.25));

    let mut image = Volume::filled(SHAPE, 0.0f32);
    let mut labels = Volume::filled(SHAPE, 0u8);
    let noise = Normal::new(0.0, 12.0);
    for z in 0..SHAPE[0] {
        for y in 0..SHAPE[1] {
            for x in 0..SHAPE[2] {
                let voxel = [z, y, x].map(|v| v as f64 + 0.5);
                let in_organ = organ.contains(voxel);
                let in_lesion = in_organ && lesion.contains(voxel);
                let in_decoy = decoy.contains(voxel);
                let brightest = in_lesion || (in_decoy && voxel[0] < 8.0);
                let base = match (brightest, in_organ || in_decoy, body.contains(voxel)) {
                    (true, ..) => 230.0,
                    (_, true, _) => 160.0,
                    (_, _, true) => 100.0,
                    _ => 20.0,
                };
                let texture: f64 = waves
                    .iter()
                    .map(|(k, phase)| {
                        (k[0] * voxel[0] + k[1] * voxel[1] + k[2] * voxel[2] + phase).sin() * 4.0
                    })
                    .sum();
                let field: f64 = (0..3).map(|a| bias[a] * (voxel[a] / SHAPE[a] as f64 - 0.5)).sum();
                let grain = noise.as_ref().map_or(0.0, |n| n.sample(&mut draw.0));
                let at = image.index(z, y, x);
                image.data_mut()[at] = ((base + texture) * (1.0 + field) + grain) as f32;
                labels.data_mut()[at] = if in_lesion { 2 } else { u8::from(in_organ) };
            }
        }
    }
    Phantom { image, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_all_labels_and_follow_from_their_number() {
        for number in 0..5 {
            let case = make(number);
            for label in 0..3 {
                let count = case.labels.data().iter().filter(|&&l| l == label).count();
                assert!(count > 50, "case {number}: {count} voxels of label {label}");
            }
        }
        assert_eq!(make(3).image, make(3).image);
        assert_ne!(make(3).labels, make(4).labels);
    }
}
