//! The damage done in training to the previous stage's segmentation, which is an input of the network.
//!
//! The network of a cascade's second stage must not trust its input blindly: labels are dilated,
//! eroded, opened or closed at random, and connected components vanish.

mod binary_operator;
mod component_removal;

pub use binary_operator::{BinaryOperator, RandomBinaryOperator, StructuringElement, apply_operator};
pub use component_removal::{RemoveComponent, remove_component};

use nnunet_volume::ChannelVolume;
use rand::Rng;

use super::random::decide;

/// The last `labels` channels of `image`.
fn one_hot_channels(image: &mut ChannelVolume<f32>, labels: usize) -> &mut [f32] {
    let first = image.channels() - labels.min(image.channels());
    let voxels = image.voxels();
    &mut image.data_mut()[first * voxels..]
}

/// The channels 0..`channels` in random order, each kept with `probability`.
fn draw_channels(channels: usize, probability: f64, rng: &mut impl Rng) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..channels).collect();
    order.shuffle(rng);
    order.retain(|_| decide(probability, rng));
    order
}
