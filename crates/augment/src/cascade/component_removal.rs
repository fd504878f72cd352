//! Removal of one random connected component of a one-hot channel.
//!
//! Components touch by faces, edges or corners; only those below a fraction of the patch may go.

use std::sync::Arc;

use nnunet_base::parts::Options;
use nnunet_volume::Volume;
use nnunet_volume::morphology::{Connectivity, connected_components};
use rand::{Rng, RngExt};

use super::super::pipeline::Sample;
use super::super::random::{SampleRng, decide};
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::{draw_channels, one_hot_channels};

/// Removes connected components from labels of the previous stage.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveComponent {
    /// Number of channels at the image's end that hold the labels.
    pub labels: usize,
    /// Probability of each label.
    pub label_probability: f64,
    /// Components of at least this fraction of the patch stay.
    pub largest_fraction: f64,
    /// Probability that another label takes the component's voxels.
    pub fill_probability: f64,
}

impl RemoveComponent {
    /// Options: `label_probability` (1), `largest_fraction` (0.25) and `fill_probability` (0). Nothing to do outside of a
    /// cascade; comes after `previous_stage_channels`.
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let label_probability = options.probability("label_probability", 1.0)?;
        let largest_fraction = options.probability("largest_fraction", 0.25)?;
        let fill_probability = options.probability("fill_probability", 0.0)?;
        Ok(match &context.facts.cascade_labels {
            Some(labels) => {
                let labels = labels.len();
                Some(Arc::new(Self { labels, label_probability, largest_fraction, fill_probability }))
            }
            None => None,
        })
    }

    /// Removes a component from random channels of `one_hot` (label, z, y, x).
    fn change(&self, one_hot: &mut [f32], shape: [usize; 3], rng: &mut SampleRng) {
        let voxels: usize = shape.iter().product();
        if voxels == 0 {
            return;
        }
        let channels = one_hot.len() / voxels;
        for c in draw_channels(channels, self.label_probability, rng) {
            let channel = &mut one_hot[c * voxels..][..voxels];
            let removed = remove_component(channel, shape, self.largest_fraction, rng);
            if !removed.is_empty() && channels > 1 && decide(self.fill_probability, rng) {
                let other = rng.random_range(0..channels - 1);
                let other = if other < c { other } else { other + 1 };
                for run in removed {
                    one_hot[other * voxels..][run].fill(1.0);
                }
            }
        }
    }
}

impl Transform for RemoveComponent {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let shape = sample.image.shape();
        self.change(one_hot_channels(&mut sample.image, self.labels), shape, context.rng);
    }
}

/// Clears one component of `channel`, chosen evenly among those smaller than `largest_fraction` of it; returns the runs of
/// voxels that it had.
pub fn remove_component(
    channel: &mut [f32],
    shape: [usize; 3],
    largest_fraction: f64,
    rng: &mut impl Rng,
) -> Vec<std::ops::Range<usize>> {
    let limit = channel.len() as f64 * largest_fraction;
    let mut removed = Vec::new();
    let Some(mask) = Volume::new(shape, channel.iter().map(|v| *v != 0.0).collect()) else { return removed };
    let components = connected_components(&mask, Connectivity::Corner);
    let sizes = components.list().iter().map(|component| component.voxels as f64);
    let removable: Vec<usize> = sizes.enumerate().filter(|(_, s)| *s < limit).map(|(i, _)| i).collect();
    if !removable.is_empty() {
        let chosen = removable[rng.random_range(0..removable.len())];
        components.for_each_run(|number, voxels| {
            if number == chosen {
                removed.push(voxels.clone());
                channel[voxels].fill(0.0);
            }
        });
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::derive_stream;

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

    #[test]
    fn another_label_may_fill_the_gap() {
        let transform = RemoveComponent {
            labels: 2,
            label_probability: 1.0,
            largest_fraction: 0.5,
            fill_probability: 1.0,
        };
        let mut one_hot = vec![0.0f32, 1.0, 1.0, 0.0, 0.0, 0.0, /* next */ 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mut rng = derive_stream(2, &[]);
        transform.change(&mut one_hot, [1, 1, 6], &mut rng);
        let (first, second) = one_hot.split_at(6);
        let moved: f32 = first.iter().sum::<f32>() + second.iter().sum::<f32>();
        assert_eq!(moved, 2.0, "the component is in one of the two: {one_hot:?}");
        assert!(first.iter().zip(second).all(|(a, b)| a * b == 0.0));
    }
}
