//! Whether an image is resampled slice by slice, and along which axis the slices are stacked.
//!
//! Rule of the reference: if the largest spacing exceeds three times the smallest (of the current grid, else of the
//! new one), the axis with the largest spacing is treated on its own; not if two axes share the largest.

use crate::SpacingMm;

/// Ratio of largest to smallest spacing above which the coarse axis is treated on its own.
pub const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// The axis to resample separately, `None` for ordinary three-dimensional resampling. Spacings in mm, any axis order.
///
/// `force`: `Some(false)` never separates, `Some(true)` always takes the coarsest axis of the current grid. `threshold`:
/// [`ANISOTROPY_THRESHOLD`] unless the plans say otherwise.
pub fn separate_axis(
    force: Option<bool>,
    threshold: f64,
    current_spacing: SpacingMm,
    new_spacing: SpacingMm,
) -> Option<usize> {
    match force {
        Some(false) => None,
        Some(true) => current_spacing.coarsest_axis(),
        None if current_spacing.anisotropy() > threshold => current_spacing.coarsest_axis(),
        None if new_spacing.anisotropy() > threshold => new_spacing.coarsest_axis(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ANISOTROPY_THRESHOLD, SpacingMm};

    #[test]
    fn follows_the_references_rule() {
        let with = |force, threshold, current, new| {
            super::separate_axis(force, threshold, SpacingMm::new(current), SpacingMm::new(new))
        };
        let axis = |force, current, new| with(force, ANISOTROPY_THRESHOLD, current, new);
        assert_eq!(axis(None, [5., 1., 1.], [2., 1., 1.]), Some(0));
        assert_eq!(axis(None, [3., 1., 1.], [6., 2., 2.]), None, "exactly three is not more than three");
        assert_eq!(axis(None, [1., 1., 0.25], [1., 1., 0.4]), None, "two coarse axes");
        assert_eq!(axis(None, [1., 1., 1.], [1., 4., 1.]), Some(1), "the new grid counts too");
        assert_eq!(axis(None, [5., 5., 1.], [9., 1., 1.]), None, "the current grid decides first");
        assert_eq!(axis(Some(true), [1.1, 1., 1.], [1., 1., 1.]), Some(0));
        assert_eq!(axis(Some(true), [1., 1., 1.], [9., 1., 1.]), None);
        assert_eq!(with(None, 4.5, [4., 1., 1.], [5., 1., 1.]), Some(0), "another threshold");
        assert_eq!(with(None, 5., [4., 1., 1.], [5., 1., 1.]), None);
        assert_eq!(axis(Some(false), [9., 1., 1.], [9., 1., 1.]), None);
    }
}
