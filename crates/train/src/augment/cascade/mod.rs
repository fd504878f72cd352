//! The damage done in training to the previous stage's segmentation, which is an input of the network.
//!
//! The network of a cascade's second stage must not trust its input blindly: labels are dilated,
//! eroded, opened or closed at random, and connected components vanish.

mod binary_operator;
mod component_removal;

pub use binary_operator::{BinaryOperator, BinaryOperatorPolicy, StructuringElement, apply_operator};
pub use component_removal::{ComponentRemovalPolicy, remove_component};

use super::random::{UniformRange, happens};
use nnunet_volume::ChannelVolume;
use rand::Rng;

/// Damage done to the one-hot channels of the previous stage.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadePolicy {
    /// Random dilation, erosion, opening or closing.
    pub operator: BinaryOperatorPolicy,
    /// Random removal of a connected component.
    pub removal: ComponentRemovalPolicy,
}

impl Default for CascadePolicy {
    /// The reference's values.
    fn default() -> Self {
        Self {
            operator: BinaryOperatorPolicy {
                probability: 0.4,
                label_probability: 0.5,
                radius: UniformRange::new(1.0, 8.0),
            },
            removal: ComponentRemovalPolicy {
                probability: 0.2,
                label_probability: 0.5,
                largest_fraction: 0.15,
            },
        }
    }
}

impl CascadePolicy {
    /// Damages the last `labels` channels of `image`, which are one-hot.
    pub fn apply(&self, image: &mut ChannelVolume<f32>, labels: usize, rng: &mut impl Rng) {
        let voxels = image.voxels();
        let shape = image.shape();
        let first = image.channels() - labels.min(image.channels());
        let one_hot = &mut image.data_mut()[first * voxels..];
        if happens(self.operator.probability, rng) {
            self.operator.apply(one_hot, shape, rng);
        }
        if happens(self.removal.probability, rng) {
            self.removal.apply(one_hot, shape, rng);
        }
    }
}

/// The channels 0..`channels` in random order, each kept with `probability`.
fn draw_channels(channels: usize, probability: f64, rng: &mut impl Rng) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..channels).collect();
    order.shuffle(rng);
    order.retain(|_| happens(probability, rng));
    order
}
