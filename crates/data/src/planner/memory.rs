//! The planner's estimate of a network's memory: the number of elements of all its convolution
//! outputs for one patch, as a closed formula of the architecture (no network is built).
//!
//! Source: the reference's estimate, exact (`reference/plans_public` of the goldens depend on it).

/// Blocks of the encoder, one number per stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EncoderBlocks<'a> {
    /// Plain U-Net: convolutions per stage.
    Convolutions(&'a [usize]),
    /// Residual encoder: blocks of two convolutions per stage, and a stem before the first stage.
    Residual(&'a [usize]),
}

/// A U-Net as far as the estimate needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkShape<'a> {
    /// Features of each stage.
    pub features: &'a [usize],
    /// Strides of each stage, one value per axis.
    pub strides: &'a [Vec<usize>],
    /// Blocks of the encoder.
    pub encoder: EncoderBlocks<'a>,
    /// Convolutions of each stage of the decoder, deepest first.
    pub decoder_convolutions: &'a [usize],
    /// Output channels: every entry of the dataset's labels counts, background, regions and ignore too.
    pub output_channels: usize,
}

/// Elements of all feature maps for one patch of `patch_size` voxels.
pub fn feature_map_elements(network: &NetworkShape<'_>, patch_size: &[usize]) -> u64 {
    let stages = network.strides.len();
    // Voxels after each stage's stride.
    let mut sizes: Vec<Vec<usize>> = Vec::with_capacity(stages);
    let mut size = patch_size.to_vec();
    for stride in network.strides {
        size = size.iter().zip(stride).map(|(a, b)| a / b).collect();
        sizes.push(size.clone());
    }
    let voxels = |size: &[usize]| size.iter().map(|&v| v as u64).product::<u64>();

    let mut elements = 0u64;
    match network.encoder {
        EncoderBlocks::Convolutions(convolutions) => {
            for stage in 0..stages {
                let map = network.features[stage] as u64 * voxels(&sizes[stage]);
                elements += convolutions[stage] as u64 * map;
            }
        }
        EncoderBlocks::Residual(blocks) => {
            elements += network.features[0] as u64 * voxels(patch_size);
            for stage in 0..stages {
                let map = network.features[stage] as u64 * voxels(&sizes[stage]);
                elements += 2 * blocks[stage] as u64 * map;
                let (features_before, size_before) = match stage {
                    0 => (network.features[0], patch_size),
                    _ => (network.features[stage - 1], sizes[stage - 1].as_slice()),
                };
                // The first block's skip path has a projection of its own.
                if features_before != network.features[stage] || size_before != sizes[stage] {
                    elements += map;
                }
            }
        }
    }
    for (index, &convolutions) in network.decoder_convolutions.iter().enumerate() {
        let stage = stages - 2 - index;
        let size = voxels(&sizes[stage]);
        // The convolutions and the transposed convolution before them.
        elements += (convolutions as u64 + 1) * network.features[stage] as u64 * size;
        if stage == 0 {
            elements += network.output_channels as u64 * size;
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stages_by_hand() {
        let strides = [vec![1, 1], vec![2, 2]];
        let network = NetworkShape {
            features: &[4, 8],
            strides: &strides,
            encoder: EncoderBlocks::Convolutions(&[2, 2]),
            decoder_convolutions: &[2],
            output_channels: 3,
        };
        // Encoder 2*4*64 + 2*8*16, decoder (2 + 1)*4*64, head 3*64.
        assert_eq!(feature_map_elements(&network, &[8, 8]), 512 + 256 + 768 + 192);
        let residual = NetworkShape { encoder: EncoderBlocks::Residual(&[1, 2]), ..network };
        // Stem 4*64, stage 0 2*4*64, stage 1 (2*2 + skip)*8*16.
        assert_eq!(feature_map_elements(&residual, &[8, 8]), 256 + 512 + 640 + 768 + 192);
    }
}
