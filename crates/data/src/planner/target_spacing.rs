//! Spacing to which a dataset is resampled at full resolution, and the axis order of the network.
//!
//! Spacings in mm, arrays (z, y, x). Source: the reference's behaviour, exact to rounding.

use super::decided::Decided;
use super::statistics::percentile;
use nnunet_volume::SpacingMm;

/// Ratio above which an axis counts as anisotropic.
pub const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// How the target spacing came about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetSpacing {
    /// The spacing (z, y, x) in mm.
    pub spacing: [f64; 3],
    /// Where it comes from.
    pub rule: SpacingRule,
}

/// Where a target spacing comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SpacingRule {
    /// Median spacing of the training cases.
    Median,
    /// Median, and along this axis the 10th percentile: its slices are far thicker and far fewer
    /// than the other axes' voxels.
    AnisotropicAxis {
        /// The axis in (z, y, x).
        axis: usize,
        /// Whether the value was raised to that of the other axes.
        raised: bool,
    },
    /// Given by the user.
    Given,
}

impl TargetSpacing {
    /// The spacing with the reason for it; `cases` is the number of training cases.
    pub fn decided(self, cases: usize) -> Decided<[f64; 3]> {
        let source = match self.rule {
            SpacingRule::Given => "option overwrite_target_spacing".to_owned(),
            _ => format!("fingerprint: spacings and shapes_after_crop of {cases} cases"),
        };
        let rule = match self.rule {
            SpacingRule::Given => "given by the user".to_owned(),
            SpacingRule::Median => "median of each axis, axes in the order of transpose_forward".to_owned(),
            SpacingRule::AnisotropicAxis { axis, raised } => {
                let end = if raised { ", raised to just above that of the other axes" } else { "" };
                format!(
                    "median of each axis; axis {axis} of the images is more than {ANISOTROPY_THRESHOLD} times coarser than \
                     the others and has less than a third of their voxels, so it takes the 10th percentile of its \
                     spacings{end}"
                )
            }
        };
        Decided::new(self.spacing, source, rule)
    }
}

/// Target spacing of a dataset with one spacing (mm) and one shape after cropping (voxels) per case.
pub fn target_spacing(spacings: &[[f64; 3]], shapes: &[[usize; 3]]) -> TargetSpacing {
    let axis_values = |axis: usize| spacings.iter().map(|s| s[axis]).collect::<Vec<f64>>();
    let mut spacing = [0, 1, 2].map(|axis| percentile(&axis_values(axis), 50.0));
    let size =
        [0, 1, 2].map(|axis| percentile(&shapes.iter().map(|s| s[axis] as f64).collect::<Vec<_>>(), 50.0));

    let worst = largest_axis(spacing);
    let others = [0, 1, 2].into_iter().filter(|&axis| axis != worst);
    let coarsest_other = others.clone().map(|axis| spacing[axis]).fold(f64::NEG_INFINITY, f64::max);
    let smallest_other = others.map(|axis| size[axis]).fold(f64::INFINITY, f64::min);
    let anisotropic_spacing = spacing[worst] > ANISOTROPY_THRESHOLD * coarsest_other;
    let anisotropic_voxels = size[worst] * ANISOTROPY_THRESHOLD < smallest_other;

    if !(anisotropic_spacing && anisotropic_voxels) {
        return TargetSpacing { spacing, rule: SpacingRule::Median };
    }
    let tenth = percentile(&axis_values(worst), 10.0);
    let raised = tenth < coarsest_other;
    spacing[worst] = if raised { coarsest_other + 1e-5 } else { tenth };
    TargetSpacing { spacing, rule: SpacingRule::AnisotropicAxis { axis: worst, raised } }
}

/// Axis orders that put the axis of the largest spacing first: (forward, backward).
pub fn transpose_orders(spacing: [f64; 3]) -> ([usize; 3], [usize; 3]) {
    let first = largest_axis(spacing);
    let mut forward = [first; 3];
    let mut others = (0..3).filter(|&axis| axis != first);
    for slot in &mut forward[1..] {
        *slot = others.next().unwrap_or(first);
    }
    let mut backward = [0; 3];
    for (i, &axis) in forward.iter().enumerate() {
        backward[axis] = i;
    }
    (forward, backward)
}

/// Shape in voxels of a case after resampling: each edge `round(shape * old / new)`, ties to even.
pub fn resampled_shape(shape: [usize; 3], old_spacing: SpacingMm, new_spacing: SpacingMm) -> [usize; 3] {
    [0, 1, 2].map(|i| (old_spacing[i] / new_spacing[i] * shape[i] as f64).round_ties_even() as usize)
}

/// Values in the order of the transposed axes.
pub fn transposed<T: Copy>(values: [T; 3], order: [usize; 3]) -> [T; 3] {
    order.map(|axis| values[axis])
}

/// First axis that has the largest value.
fn largest_axis(values: [f64; 3]) -> usize {
    (1..3).fold(0, |best, axis| if values[axis] > values[best] { axis } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thick_slices_take_the_tenth_percentile() {
        let spacings: Vec<[f64; 3]> = (0..11).map(|i| [5.0 + 0.5 * i as f64, 1.4, 1.4]).collect();
        let t = target_spacing(&spacings, &[[10, 200, 200]; 11]);
        assert_eq!(t.rule, SpacingRule::AnisotropicAxis { axis: 0, raised: false });
        assert_eq!(t.spacing, [5.5, 1.4, 1.4]);
        // As many slices as voxels in the plane: the median stays.
        assert_eq!(target_spacing(&spacings, &[[70, 200, 200]; 11]).spacing[0], 7.5);
    }

    #[test]
    fn tenth_percentile_is_not_finer_than_the_plane() {
        let mut spacings = vec![[10.0, 2.0, 2.0]; 8];
        spacings.extend([[1.0, 2.0, 2.0]; 3]);
        let t = target_spacing(&spacings, &[[10, 100, 100]; 11]);
        assert_eq!(t.rule, SpacingRule::AnisotropicAxis { axis: 0, raised: true });
        assert_eq!(t.spacing[0], 2.0 + 1e-5);
    }

    #[test]
    fn orders_undo_each_other() {
        assert_eq!(transpose_orders([1.0, 1.0, 1.0]), ([0, 1, 2], [0, 1, 2]));
        assert_eq!(transpose_orders([1.0, 3.0, 1.0]), ([1, 0, 2], [1, 0, 2]));
        let (forward, backward) = transpose_orders([0.5, 0.6, 3.0]);
        assert_eq!((forward, backward), ([2, 0, 1], [1, 2, 0]));
        assert_eq!(transposed(transposed([7, 8, 9], forward), backward), [7, 8, 9]);
    }

    #[test]
    fn resampled_edges_round_half_to_even() {
        assert_eq!(resampled_shape([5, 7, 3], SpacingMm::UNIT, SpacingMm::new([2.0; 3])), [2, 4, 2]);
    }
}
