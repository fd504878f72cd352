//! Removal of one random connected component of a one-hot channel.
//!
//! Components touch by faces, edges or corners; only those below a fraction of the patch may go.

use super::draw_channels;
use rand::{Rng, RngExt};

/// How often components vanish.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentRemovalPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Probability of each label of a chosen sample.
    pub label_probability: f64,
    /// Components of at least this fraction of the patch stay.
    pub largest_fraction: f64,
}

impl ComponentRemovalPolicy {
    /// Removes a component from random channels of `one_hot` (label, z, y, x).
    pub(super) fn apply(&self, one_hot: &mut [f32], shape: [usize; 3], rng: &mut impl Rng) {
        let voxels: usize = shape.iter().product();
        if voxels == 0 {
            return;
        }
        for c in draw_channels(one_hot.len() / voxels, self.label_probability, rng) {
            remove_component(&mut one_hot[c * voxels..][..voxels], shape, self.largest_fraction, rng);
        }
    }
}

/// Clears one component of `channel`, chosen evenly among those smaller than `largest_fraction` of it.
pub fn remove_component(channel: &mut [f32], shape: [usize; 3], largest_fraction: f64, rng: &mut impl Rng) {
    let limit = channel.len() as f64 * largest_fraction;
    let components = components(channel, shape);
    let removable: Vec<&Vec<u32>> = components.iter().filter(|c| (c.len() as f64) < limit).collect();
    if !removable.is_empty() {
        for &voxel in removable[rng.random_range(0..removable.len())] {
            channel[voxel as usize] = 0.0;
        }
    }
}

/// The voxels of each component, components in the order of their first voxel.
fn components(channel: &[f32], shape: [usize; 3]) -> Vec<Vec<u32>> {
    let mut open: Vec<bool> = channel.iter().map(|v| *v != 0.0).collect();
    let mut components = Vec::new();
    let reach = |i: usize, length: usize| i.saturating_sub(1)..(i + 2).min(length);
    for start in 0..channel.len() {
        if !open[start] {
            continue;
        }
        open[start] = false;
        let mut voxels = vec![start as u32];
        let mut next = 0;
        while let Some(&voxel) = voxels.get(next) {
            next += 1;
            let voxel = voxel as usize;
            let (z, y, x) = (voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]);
            for z in reach(z, shape[0]) {
                for y in reach(y, shape[1]) {
                    for x in reach(x, shape[2]) {
                        let neighbour = (z * shape[1] + y) * shape[2] + x;
                        if std::mem::take(&mut open[neighbour]) {
                            voxels.push(neighbour as u32);
                        }
                    }
                }
            }
        }
        components.push(voxels);
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::random::derive_stream;

    #[test]
    fn corners_connect_and_large_components_stay() {
        // Two components: a diagonal pair and a single voxel; and one that is too large.
        let mut channel = vec![0.0f32; 3 * 4 * 5];
        for voxel in [0, 26, 4] {
            channel[voxel] = 1.0;
        }
        assert_eq!(components(&channel, [3, 4, 5]), [vec![0, 26], vec![4]]);
        let mut rng = derive_stream(1, &[]);
        remove_component(&mut channel, [3, 4, 5], 2.0 / 60.0, &mut rng);
        assert_eq!((channel[0], channel[26], channel[4]), (1.0, 1.0, 0.0));
        remove_component(&mut channel, [3, 4, 5], 2.0 / 60.0, &mut rng);
        assert_eq!((channel[0], channel[26]), (1.0, 1.0), "only components below the limit may go");
    }
}
