//! Whether an image is resampled slice by slice, and along which axis the slices are stacked.
//!
//! Rule of the reference: if the largest spacing exceeds three times the smallest (of the current grid, else of the
//! new one), the axis with the largest spacing is treated on its own; not if two axes share the largest.

/// Ratio of largest to smallest spacing above which the coarse axis is treated on its own.
pub const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// The axis to resample separately, `None` for ordinary three-dimensional resampling. Spacings in mm, any axis order.
///
/// `force`: `Some(false)` never separates, `Some(true)` always takes the coarsest axis of the current grid. `threshold`:
/// [`ANISOTROPY_THRESHOLD`] unless the plans say otherwise.
pub fn separate_axis(
    force: Option<bool>,
    threshold: f64,
    current_spacing: [f64; 3],
    new_spacing: [f64; 3],
) -> Option<usize> {
    match force {
        Some(false) => None,
        Some(true) => coarsest(current_spacing),
        None if anisotropy(current_spacing) > threshold => coarsest(current_spacing),
        None if anisotropy(new_spacing) > threshold => coarsest(new_spacing),
        None => None,
    }
}

fn largest(spacing: [f64; 3]) -> f64 {
    spacing.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

fn anisotropy(spacing: [f64; 3]) -> f64 {
    largest(spacing) / spacing.into_iter().fold(f64::INFINITY, f64::min)
}

/// The only axis with the largest spacing, if it is the only one.
fn coarsest(spacing: [f64; 3]) -> Option<usize> {
    let top = largest(spacing);
    let mut axes = (0..3).filter(|&axis| top / spacing[axis] == 1.0);
    axes.next().filter(|_| axes.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::ANISOTROPY_THRESHOLD;

    #[test]
    fn follows_the_references_rule() {
        let axis = |force, current, new| super::separate_axis(force, ANISOTROPY_THRESHOLD, current, new);
        assert_eq!(axis(None, [5., 1., 1.], [2., 1., 1.]), Some(0));
        assert_eq!(axis(None, [3., 1., 1.], [6., 2., 2.]), None, "exactly three is not more than three");
        assert_eq!(axis(None, [1., 1., 0.25], [1., 1., 0.4]), None, "two coarse axes");
        assert_eq!(axis(None, [1., 1., 1.], [1., 4., 1.]), Some(1), "the new grid counts too");
        assert_eq!(axis(None, [5., 5., 1.], [9., 1., 1.]), None, "the current grid decides first");
        assert_eq!(axis(Some(true), [1.1, 1., 1.], [1., 1., 1.]), Some(0));
        assert_eq!(axis(Some(true), [1., 1., 1.], [9., 1., 1.]), None);
        assert_eq!(super::separate_axis(None, 4.5, [4., 1., 1.], [5., 1., 1.]), Some(0), "another threshold");
        assert_eq!(super::separate_axis(None, 5., [4., 1., 1.], [5., 1., 1.]), None);
        assert_eq!(axis(Some(false), [9., 1., 1.], [9., 1., 1.]), None);
    }
}
