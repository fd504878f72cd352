//! Removal of one random connected component of a one-hot channel.
//!
//! Components touch by faces, edges or corners; only those below a fraction of the patch may go.

use super::draw_channels;
use nnunet_volume::Volume;
use nnunet_volume::morphology::{Connectivity, connected_components};
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
    let Some(mask) = Volume::new(shape, channel.iter().map(|v| *v != 0.0).collect()) else { return };
    let components = connected_components(&mask, Connectivity::Corner);
    let sizes = components.list().iter().map(|component| component.voxels as f64);
    let removable: Vec<usize> = sizes.enumerate().filter(|(_, s)| *s < limit).map(|(i, _)| i).collect();
    if !removable.is_empty() {
        let chosen = removable[rng.random_range(0..removable.len())];
        components.for_each_run(|number, voxels| {
            if number == chosen {
                channel[voxels].fill(0.0);
            }
        });
    }
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
        let mut rng = derive_stream(1, &[]);
        remove_component(&mut channel, [3, 4, 5], 2.0 / 60.0, &mut rng);
        assert_eq!((channel[0], channel[26], channel[4]), (1.0, 1.0, 0.0));
        remove_component(&mut channel, [3, 4, 5], 2.0 / 60.0, &mut rng);
        assert_eq!((channel[0], channel[26]), (1.0, 1.0), "only components below the limit may go");
    }
}
