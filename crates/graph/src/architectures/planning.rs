//! What planners ask about a U-Net: its memory, as the number of elements of all its convolution outputs for one patch, by
//! closed formulas (no network is built), and the arguments that they write as they are.
//!
//! Source: the reference's estimates, exact (`reference/plans_public` of the goldens depend on it).

use serde_json::{Map, Value, json};

/// A U-Net as far as a planner has decided it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannedUNet<'a> {
    /// Features of each stage.
    pub features: &'a [usize],
    /// Strides of each stage, one value per axis.
    pub strides: &'a [Vec<usize>],
    /// Convolutions or blocks of each stage of the encoder.
    pub encoder_blocks: &'a [usize],
    /// Convolutions of each stage of the decoder, deepest first.
    pub decoder_convolutions: &'a [usize],
    /// Output channels: every entry of the dataset's labels counts, background, regions and ignore too.
    pub output_channels: usize,
}

impl PlannedUNet<'_> {
    /// Voxels per axis after each stage's stride.
    fn sizes(&self, patch_size: &[usize]) -> Vec<Vec<usize>> {
        let mut size = patch_size.to_vec();
        let shrink = |stride: &Vec<usize>| {
            size = size.iter().zip(stride).map(|(a, b)| a / b).collect();
            size.clone()
        };
        self.strides.iter().map(shrink).collect()
    }

    /// Elements of one feature map of each stage, given the stages' sizes.
    fn maps(&self, sizes: &[Vec<usize>]) -> Vec<u64> {
        self.features.iter().zip(sizes).map(|(&features, size)| features as u64 * voxels(size)).collect()
    }

    /// Elements of the decoder's feature maps.
    fn decoder_elements(&self, sizes: &[Vec<usize>], maps: &[u64]) -> u64 {
        let stages = self.strides.len();
        let mut elements = 0;
        for (index, &convolutions) in self.decoder_convolutions.iter().enumerate() {
            let stage = stages - 2 - index;
            // The convolutions and the transposed convolution before them.
            elements += (convolutions as u64 + 1) * maps[stage];
            if stage == 0 {
                elements += self.output_channels as u64 * voxels(&sizes[stage]);
            }
        }
        elements
    }
}

fn voxels(size: &[usize]) -> u64 {
    size.iter().map(|&v| v as u64).product()
}

/// Elements of all feature maps of a U-Net with plain convolutions, for one patch of `patch_size` voxels.
pub fn plain_feature_map_elements(network: &PlannedUNet<'_>, patch_size: &[usize]) -> u64 {
    let sizes = network.sizes(patch_size);
    let maps = network.maps(&sizes);
    let encoder: u64 = network.encoder_blocks.iter().zip(&maps).map(|(&n, map)| n as u64 * map).sum();
    encoder + network.decoder_elements(&sizes, &maps)
}

/// The same with an encoder of residual blocks: two convolutions each, and a stem before the first stage.
pub fn residual_feature_map_elements(network: &PlannedUNet<'_>, patch_size: &[usize]) -> u64 {
    let sizes = network.sizes(patch_size);
    let maps = network.maps(&sizes);
    let mut before = (network.features[0], patch_size);
    let mut elements = network.features[0] as u64 * voxels(patch_size);
    for (stage, &blocks) in network.encoder_blocks.iter().enumerate() {
        elements += 2 * blocks as u64 * maps[stage];
        let after = (network.features[stage], sizes[stage].as_slice());
        // The first block's skip path has a projection of its own.
        if before != after {
            elements += maps[stage];
        }
        before = after;
    }
    elements + network.decoder_elements(&sizes, &maps)
}

/// The arguments that every U-Net of the reference's planners has: convolutions with bias, instance norm, leaky ReLU, no
/// dropout. `dimensions` is 2 or 3.
pub fn unet_arguments(dimensions: usize) -> Map<String, Value> {
    let arguments = [
        ("conv_bias", json!(true)),
        ("norm_op", json!(format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d"))),
        ("norm_op_kwargs", json!({"eps": 1e-5, "affine": true})),
        ("dropout_op", Value::Null),
        ("dropout_op_kwargs", Value::Null),
        ("nonlin", json!("torch.nn.LeakyReLU")),
        ("nonlin_kwargs", json!({"inplace": true})),
    ];
    arguments.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stages_by_hand() {
        let strides = [vec![1, 1], vec![2, 2]];
        let network = PlannedUNet {
            features: &[4, 8],
            strides: &strides,
            encoder_blocks: &[2, 2],
            decoder_convolutions: &[2],
            output_channels: 3,
        };
        // Encoder 2*4*64 + 2*8*16, decoder (2 + 1)*4*64, head 3*64.
        assert_eq!(plain_feature_map_elements(&network, &[8, 8]), 512 + 256 + 768 + 192);
        let residual = PlannedUNet { encoder_blocks: &[1, 2], ..network };
        // Stem 4*64, stage 0 2*4*64, stage 1 (2*2 + skip)*8*16.
        assert_eq!(residual_feature_map_elements(&residual, &[8, 8]), 256 + 512 + 640 + 768 + 192);
    }
}
