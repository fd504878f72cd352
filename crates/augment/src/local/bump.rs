//! The weight map of the local transforms: a Gaussian integrated over each voxel, rescaled to [0, 1].
//!
//! Along each axis the weight is the normal distribution's share of the voxel; the map is the product of the axes, minus
//! its minimum, over its maximum. Computed in the reference's order of operations: shares in f64, products in f32. Axis
//! order (z, y, x), lengths in voxels.

use nnunet_base::parts::{OptionError, Options};

use super::super::distribution::Distribution;
use super::super::random::SampleRng;

/// Where bumps lie and how wide they are.
#[derive(Debug, Clone, PartialEq)]
pub struct BumpOptions {
    /// Standard deviation in voxels, drawn for each axis; `None` for a sixth of the axis to all of it, evenly distributed
    /// on a logarithmic scale.
    pub scale: Option<Distribution>,
    /// Centre as a fraction of the axis' length, drawn for each axis; below 0 and above 1 is outside of the patch.
    pub location: Distribution,
}

impl BumpOptions {
    /// Reads the options `scale` and `location`.
    ///
    /// # Errors
    /// Options of another kind.
    pub fn read(options: &mut Options<'_>) -> Result<Self, OptionError> {
        let scale = Distribution::optional_within(options, "scale", [1e-3, f64::INFINITY])?;
        let location = Distribution::read(options, "location", Distribution::uniform(-0.5, 1.5))?;
        Ok(Self { scale, location })
    }

    /// Draws a bump for a patch of `shape`; axes before `first_axis` are none of the patch's own.
    pub fn draw(&self, shape: [usize; 3], first_axis: usize, rng: &mut SampleRng) -> Bump {
        let mut centre = [0.0; 3];
        let mut deviation = [0.0; 3];
        for d in first_axis..3 {
            centre[d] = self.location.sample(rng) * shape[d] as f64;
            deviation[d] = match &self.scale {
                Some(scale) => scale.sample(rng),
                None => {
                    let sixth = (shape[d] / 6).max(1) as f64;
                    Distribution::uniform(sixth.ln(), (shape[d] as f64).ln()).sample(rng).exp()
                }
            };
        }
        Bump::new(shape, first_axis, centre, deviation)
    }
}

/// A bump on a patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Bump {
    shares: [Vec<f32>; 3],
    low: f32,
    range: f32,
}

impl Bump {
    /// The bump with `centre` and standard `deviation` (voxels per axis, the first voxel at 0) on a patch of
    /// `shape`. It does not vary along axes before `first_axis`.
    pub fn new(shape: [usize; 3], first_axis: usize, centre: [f64; 3], deviation: [f64; 3]) -> Self {
        let shares: [Vec<f32>; 3] = std::array::from_fn(|d| match d < first_axis {
            true => vec![1.0; shape[d]],
            false => shares(shape[d], centre[d], deviation[d]),
        });
        let product = |pick: fn(f32, f32) -> f32, start: f32| {
            let [z, y, x] = shares.each_ref().map(|axis| axis.iter().copied().fold(start, pick));
            z * y * x
        };
        let low = product(f32::min, f32::INFINITY);
        let range = product(f32::max, 0.0) - low;
        Self { shares, low, range: if range > 0.0 { range } else { 1.0 } }
    }

    /// Weights of the row (z, y), each in [0, 1].
    pub fn row(&self, z: usize, y: usize) -> impl Iterator<Item = f32> + '_ {
        let share = self.shares[0][z] * self.shares[1][y];
        let (low, range) = (self.low, self.range);
        self.shares[2].iter().map(move |x| (share * x - low) / range)
    }

    /// Calls `change` for every row of `channel` with the row and its weights.
    pub fn for_each_row(&self, channel: &mut [f32], mut change: impl FnMut(&mut [f32], &[f32])) {
        let [_, height, width] = self.shares.each_ref().map(Vec::len);
        let mut weights = vec![0.0; width];
        for (i, row) in channel.chunks_exact_mut(width.max(1)).enumerate() {
            weights.iter_mut().zip(self.row(i / height, i % height)).for_each(|(to, weight)| *to = weight);
            change(row, &weights);
        }
    }

    /// Mean of all weights.
    pub fn mean(&self) -> f64 {
        let mean: f64 = self
            .shares
            .iter()
            .map(|axis| axis.iter().map(|v| f64::from(*v)).sum::<f64>() / axis.len().max(1) as f64)
            .product();
        (mean - f64::from(self.low)) / f64::from(self.range)
    }
}

/// The share of the normal distribution that falls on each of `length` voxels. The reference puts the edges of voxel i at
/// i - 0.5 and i + 0.5.
fn shares(length: usize, centre: f64, deviation: f64) -> Vec<f32> {
    let below = |edge: f64| 0.5 * libm::erfc(-(edge - centre) / (deviation * std::f64::consts::SQRT_2));
    (0..length).map(|i| (below(i as f64 + 0.5) - below(i as f64 - 0.5)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_the_unit_interval_and_peak_at_the_centre() {
        let shape = [4, 9, 11];
        let bump = Bump::new(shape, 1, [0.0, 4.0, 7.0], [0.0, 2.0, 3.0]);
        let weights: Vec<f32> =
            (0..4).flat_map(|z| (0..9).flat_map(move |y| [(z, y)])).fold(Vec::new(), |mut all, (z, y)| {
                all.extend(bump.row(z, y));
                all
            });
        let low = weights.iter().copied().fold(f32::INFINITY, f32::min);
        assert_eq!((low, weights[4 * 11 + 7]), (0.0, 1.0));
        assert_eq!(weights[..99], weights[99..198], "the first axis is none of the patch's own");
        let mean = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / weights.len() as f64;
        assert!((bump.mean() - mean).abs() < 1e-5, "{} {mean}", bump.mean());
    }

    #[test]
    fn a_bump_far_away_is_flat() {
        let bump = Bump::new([1, 3, 3], 1, [0.0, 500.0, 500.0], [0.0, 1.0, 1.0]);
        assert!(bump.row(0, 2).all(|weight| weight == 0.0));
    }
}
