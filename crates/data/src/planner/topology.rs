//! Which axes are pooled at which stage, with which kernels, and the patch size that follows.
//!
//! An axis is pooled while its feature map stays at least twice the minimal edge, and only while
//! its spacing is within a factor of two of the finest axis that can still be pooled; kernels grow
//! from 1 to 3 along an axis as soon as its spacing is within a factor of two of the finest one.
//! Source: the reference's behaviour (`reference/plans_public` of the goldens), exact.

use super::decided::Decided;

/// Smallest edge of a feature map in the bottleneck, in voxels.
pub const MINIMAL_EDGE: usize = 4;

/// Pooling and kernels of a U-Net, one entry per stage, each with one value per axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Strides of the first convolution of each stage; the first stage does not pool.
    pub strides: Vec<Vec<usize>>,
    /// Kernel sizes of each stage's convolutions; the bottleneck always has 3 along every axis.
    pub kernel_sizes: Vec<Vec<usize>>,
    /// Patch size, padded up to a multiple of `divisible_by`, in voxels.
    pub patch_size: Vec<usize>,
    /// What the patch size must be a multiple of: 2 to the number of poolings of the axis.
    pub divisible_by: Vec<usize>,
}

impl Topology {
    /// Number of stages of the encoder, bottleneck included.
    pub fn stages(&self) -> usize {
        self.strides.len()
    }

    /// The topology with the reason for its stages, strides and kernels; `spacing` is that of the patch, in mm.
    pub fn decided(&self, spacing: &[f64]) -> Decided<&Self> {
        let poolings: Vec<u32> = self.divisible_by.iter().map(|by| by.trailing_zeros()).collect();
        Decided::new(
            self,
            format!("patch_size {:?}, spacing {spacing:?} mm", self.patch_size),
            format!(
                "{} stages with {poolings:?} poolings per axis: down to feature maps of {MINIMAL_EDGE} voxels; an axis is \
                 pooled, and has kernels of 3 instead of 1, once its spacing is within a factor of 2 of the finest",
                self.stages()
            ),
        )
    }
}

/// The topology for a patch of `patch_size` voxels at `spacing` mm (same axes, both of length 2 or
/// 3). The patch size may be fractional: it starts as the median shape of a dataset.
pub fn topology(spacing: &[f64], patch_size: &[f64], minimal_edge: usize) -> Topology {
    let axes = spacing.len();
    let minimal_edge = minimal_edge as f64;
    let mut current_spacing = spacing.to_vec();
    let mut current_size = patch_size.to_vec();
    let mut poolings = vec![0u32; axes];
    let mut kernel = vec![1usize; axes];
    let mut strides = vec![vec![1usize; axes]];
    let mut kernel_sizes = Vec::new();

    loop {
        let large_enough: Vec<usize> =
            (0..axes).filter(|&axis| current_size[axis] >= 2.0 * minimal_edge).collect();
        let finest_poolable =
            large_enough.iter().map(|&axis| current_spacing[axis]).fold(f64::INFINITY, f64::min);
        let pooled: Vec<usize> =
            large_enough.into_iter().filter(|&axis| current_spacing[axis] / finest_poolable < 2.0).collect();
        match pooled.as_slice() {
            [] => break,
            // One axis alone is pooled only if that leaves more than the minimum.
            [only] if current_size[*only] < 3.0 * minimal_edge => break,
            _ => {}
        }

        let finest = current_spacing.iter().copied().fold(f64::INFINITY, f64::min);
        for axis in 0..axes {
            if current_spacing[axis] / finest < 2.0 {
                kernel[axis] = 3;
            }
        }
        let mut stride = vec![1usize; axes];
        for &axis in &pooled {
            stride[axis] = 2;
            poolings[axis] += 1;
            current_spacing[axis] *= 2.0;
            current_size[axis] = (current_size[axis] / 2.0).ceil();
        }
        strides.push(stride);
        kernel_sizes.push(kernel.clone());
    }
    kernel_sizes.push(vec![3; axes]);

    let divisible_by: Vec<usize> = poolings.iter().map(|&n| 1usize << n).collect();
    let patch_size = patch_size.iter().zip(&divisible_by).map(|(&size, &by)| pad(size, by)).collect();
    Topology { strides, kernel_sizes, patch_size, divisible_by }
}

/// Smallest multiple of `by` that is not below `size`.
fn pad(size: f64, by: usize) -> usize {
    let by = by as f64;
    let rest = size.rem_euclid(by);
    if rest == 0.0 { size as usize } else { (size + by - rest) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isotropic_patch_pools_every_axis() {
        let t = topology(&[1.0, 1.0, 1.0], &[128.0, 128.0, 128.0], MINIMAL_EDGE);
        assert_eq!(t.stages(), 6);
        assert_eq!(t.divisible_by, [32, 32, 32]);
        assert_eq!(t.patch_size, [128, 128, 128]);
        assert!(t.kernel_sizes.iter().all(|k| k == &[3, 3, 3]));
    }

    #[test]
    fn coarse_axis_is_pooled_later_and_has_flat_kernels_first() {
        let t = topology(&[5.0, 1.0, 1.0], &[20.0, 256.0, 256.0], MINIMAL_EDGE);
        assert_eq!(t.strides[1], [1, 2, 2]);
        assert_eq!(t.kernel_sizes[0], [1, 3, 3]);
        // 5 / 4 < 2 after two poolings in the plane.
        assert_eq!(t.strides[3], [2, 2, 2]);
        assert_eq!(t.kernel_sizes[2], [3, 3, 3]);
    }

    #[test]
    fn fractional_sizes_are_padded_up() {
        let t = topology(&[1.0, 1.0, 1.0], &[36.0, 50.5, 35.5], MINIMAL_EDGE);
        assert_eq!(t.divisible_by, [8, 8, 8]);
        assert_eq!(t.patch_size, [40, 56, 40]);
    }

    #[test]
    fn nothing_is_pooled_below_the_minimal_edge() {
        let t = topology(&[1.0, 1.0], &[7.0, 7.0], MINIMAL_EDGE);
        assert_eq!(t.stages(), 1);
        assert_eq!(t.patch_size, [7, 7]);
        // A single axis needs three times the minimal edge.
        assert_eq!(topology(&[1.0, 1.0], &[8.0, 7.0], MINIMAL_EDGE).stages(), 1);
        assert_eq!(topology(&[1.0, 1.0], &[12.0, 7.0], MINIMAL_EDGE).stages(), 2);
    }
}
