//! From an augmented label map to what the loss compares with: regions and lower resolutions.
//!
//! Deep supervision: the label map is resampled by nearest neighbour (voxel centres at
//! half-integers) to round(shape * scale) for each scale. Regions: one boolean channel per region,
//! the ignore label as the last. Axis order (z, y, x). Exact.

use super::low_resolution::{nearest_sources, scaled_length};
use nnunet_volume::{ChannelVolume, Volume};

/// How targets are made of label maps.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPolicy {
    /// Labels of each region in the order of the network's outputs, the ignore label (if there is
    /// one) as a last region of its own; `None` for plain labels.
    pub regions: Option<Vec<Vec<i16>>>,
    /// Scale (z, y, x) of each output of the network, full resolution first.
    pub scales: Vec<[f64; 3]>,
}

/// The target of one sample at one resolution.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleTarget {
    /// Labels (z, y, x).
    Labels(Volume<i16>),
    /// Membership (region, z, y, x).
    Regions(ChannelVolume<bool>),
}

impl SampleTarget {
    /// Shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Labels(labels) => labels.shape(),
            Self::Regions(regions) => regions.shape(),
        }
    }
}

impl TargetPolicy {
    /// Targets of all scales for a label map of `shape`.
    pub fn make(&self, labels: &[i16], shape: [usize; 3]) -> Vec<SampleTarget> {
        self.scales
            .iter()
            .map(|scale| {
                let (small, small_shape) = downsample_labels(labels, shape, *scale);
                match &self.regions {
                    None => SampleTarget::Labels(volume(small_shape, small)),
                    Some(regions) => SampleTarget::Regions(to_regions(&small, small_shape, regions)),
                }
            })
            .collect()
    }

    /// Shape (z, y, x) of the target at each scale for a patch of `shape`.
    pub fn shapes(&self, shape: [usize; 3]) -> Vec<[usize; 3]> {
        self.scales.iter().map(|scale| std::array::from_fn(|d| scaled_length(shape[d], scale[d]))).collect()
    }
}

fn volume(shape: [usize; 3], data: Vec<i16>) -> Volume<i16> {
    let mut result = Volume::filled(shape, 0);
    result.data_mut().copy_from_slice(&data);
    result
}

/// The label map at `scale` (z, y, x), with its shape.
pub fn downsample_labels(labels: &[i16], shape: [usize; 3], scale: [f64; 3]) -> (Vec<i16>, [usize; 3]) {
    if scale == [1.0; 3] {
        return (labels.to_vec(), shape);
    }
    let small: [usize; 3] = std::array::from_fn(|d| scaled_length(shape[d], scale[d]));
    let sources: [Vec<usize>; 3] = std::array::from_fn(|d| nearest_sources(shape[d], small[d]));
    let mut result = Vec::with_capacity(small.iter().product());
    for &z in &sources[0] {
        for &y in &sources[1] {
            let row = &labels[(z * shape[1] + y) * shape[2]..][..shape[2]];
            result.extend(sources[2].iter().map(|&x| row[x]));
        }
    }
    (result, small)
}

/// One channel per region, true where the label belongs to it.
pub fn to_regions(labels: &[i16], shape: [usize; 3], regions: &[Vec<i16>]) -> ChannelVolume<bool> {
    let mut result = ChannelVolume::filled(regions.len(), shape, false);
    for (c, region) in regions.iter().enumerate() {
        for &member in region {
            for (inside, label) in result.channel_mut(c).iter_mut().zip(labels) {
                *inside |= *label == member;
            }
        }
    }
    result
}

/// Sets every `from` to `to`.
pub fn replace_label(labels: &mut [i16], from: i16, to: i16) {
    for label in labels {
        *label = if *label == from { to } else { *label };
    }
}

/// Sets the image to 0 where the segmentation says "outside of the body" (negative labels).
pub fn mask_outside(channel: &mut [f32], labels: &[i16]) {
    for (value, label) in channel.iter_mut().zip(labels) {
        *value = if *label < 0 { 0.0 } else { *value };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_overlap_and_the_ignore_label_comes_last() {
        let policy = TargetPolicy {
            regions: Some(vec![vec![1, 2], vec![2], vec![3]]),
            scales: vec![[1.0; 3], [1.0, 1.0, 0.5]],
        };
        let targets = policy.make(&[0, 1, 2, 3], [1, 1, 4]);
        let SampleTarget::Regions(full) = &targets[0] else { panic!("{targets:?}") };
        assert_eq!(full.channel(0), &[false, true, true, false]);
        assert_eq!(full.channel(1), &[false, false, true, false]);
        assert_eq!(full.channel(2), &[false, false, false, true]);
        let SampleTarget::Regions(half) = &targets[1] else { panic!("{targets:?}") };
        assert_eq!((half.channel(0), half.channel(2)), (&[true, false][..], &[false, true][..]));
        assert_eq!(policy.shapes([1, 1, 4]), [[1, 1, 4], [1, 1, 2]]);
    }

    #[test]
    fn outside_is_masked_before_it_becomes_background() {
        let mut labels = [-1, 0, 2];
        let mut image = [5.0, 6.0, 7.0];
        mask_outside(&mut image, &labels);
        replace_label(&mut labels, -1, 0);
        assert_eq!((image, labels), ([0.0, 6.0, 7.0], [0, 0, 2]));
    }
}
