//! The weight of each voxel of a tile: a Gaussian around the centre, because networks are less sure
//! at the border of their field of view.
//!
//! Source: the reference's importance map: a unit impulse smoothed with sigma = size / 8 per axis
//! (kernel cut at 4 sigma, zero outside), scaled to a maximum of 10 and rounded to f16; voxels that
//! round to zero get the smallest weight that does not.

use half::f16;

/// Largest weight of a map.
const PEAK: f64 = 10.0;
/// Sigma as a share of the tile's size.
const SIGMA_SCALE: f64 = 1.0 / 8.0;
/// The kernel ends at so many sigma.
const TRUNCATE: f64 = 4.0;

/// Weights of a tile of `shape` (z, y, x) in C order. A plane is given as (1, y, x); its first axis
/// does not take part.
pub fn importance_map(shape: [usize; 3]) -> Vec<f32> {
    let profiles = shape.map(profile);
    let scale = PEAK / profiles.iter().map(|p| p.iter().copied().fold(0.0, f64::max)).product::<f64>();
    let mut map = Vec::with_capacity(shape.iter().product());
    for &z in &profiles[0] {
        for &y in &profiles[1] {
            for &x in &profiles[2] {
                map.push(f16::from_f64(z * y * x * scale).to_f32());
            }
        }
    }
    let smallest = map.iter().copied().filter(|&w| w > 0.0).fold(f32::INFINITY, f32::min);
    for weight in &mut map {
        if *weight == 0.0 {
            *weight = smallest;
        }
    }
    map
}

/// The normalised kernel around `size / 2`, cut to the tile. One voxel has the weight 1.
fn profile(size: usize) -> Vec<f64> {
    if size == 1 {
        return vec![1.0];
    }
    let sigma = size as f64 * SIGMA_SCALE;
    let radius = (TRUNCATE * sigma + 0.5) as i64;
    let value = |offset: i64| (-0.5 * (offset as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(value).sum();
    (0..size as i64)
        .map(|i| i - size as i64 / 2)
        .map(|offset| if offset.abs() <= radius { value(offset) / sum } else { 0.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use nnunet_testkit::{npy::read_npy, shared::shared_path};

    use super::*;

    #[test]
    fn equals_the_reference() {
        for (name, shape) in [
            ("16x24x20", [16, 24, 20]),
            ("40x56x40", [40, 56, 40]),
            ("5x17x9", [5, 17, 9]),
            ("56x40", [1, 56, 40]),
            ("20x28", [1, 20, 28]),
        ] {
            let Some(path) = shared_path(&format!("reference/unit/gaussian/{name}.npy")) else { return };
            let expected = read_npy(path).f32();
            let found = importance_map(shape);
            assert_eq!(found.len(), expected.len());
            assert!(found == expected, "{name}: both are f16 and must be equal");
        }
    }

    #[test]
    fn is_symmetric_about_the_centre_and_never_zero() {
        let map = importance_map([9, 9, 33]);
        assert!(map.iter().all(|&w| w > 0.0));
        assert_eq!(map[(4 * 9 + 4) * 33 + 16], 10.0);
        for (a, b) in map.iter().zip(map.iter().rev()) {
            assert_eq!(a, b, "odd sizes are symmetric");
        }
    }
}
