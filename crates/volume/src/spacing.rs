//! Voxel sizes as a type of their own, so that no shape, position or header's (x, y, z) is taken for one.

use std::fmt;
use std::ops::Index;

/// Size of a voxel in mm along the axes of its array: (z, y, x), or these in the order of the plans once an image is
/// transposed. Headers have (x, y, z): see [`Geometry::spacing_zyx`](crate::Geometry::spacing_zyx).
#[derive(Clone, Copy, PartialEq)]
pub struct SpacingMm([f64; 3]);

impl SpacingMm {
    /// The spacing along the three axes of an array.
    pub const fn new(along_axes: [f64; 3]) -> Self {
        Self(along_axes)
    }

    /// 1 mm along each axis, for images whose files state none.
    pub const UNIT: Self = Self([1.0; 3]);

    /// The spacing along each axis.
    pub const fn along_axes(self) -> [f64; 3] {
        self.0
    }

    /// Whether all three are lengths: finite and above 0.
    pub fn is_valid(self) -> bool {
        self.0.iter().all(|mm| mm.is_finite() && *mm > 0.0)
    }

    /// The largest of the three.
    pub fn largest(self) -> f64 {
        self.0.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The smallest of the three.
    pub fn smallest(self) -> f64 {
        self.0.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// Ratio of the largest to the smallest.
    pub fn anisotropy(self) -> f64 {
        self.largest() / self.smallest()
    }

    /// The axis with the largest spacing, unless two share it.
    pub fn coarsest_axis(self) -> Option<usize> {
        let top = self.largest();
        let mut axes = (0..3).filter(|&axis| top / self.0[axis] == 1.0);
        axes.next().filter(|_| axes.next().is_none())
    }

    /// The spacing of the image transposed by `order`: axis `i` of it is axis `order[i]` of this one.
    #[must_use]
    pub fn transposed(self, order: [usize; 3]) -> Self {
        Self(order.map(|axis| self.0[axis]))
    }

    /// Volume of a voxel in mm³.
    pub fn voxel_volume(self) -> f64 {
        self.0.iter().product()
    }
}

impl Index<usize> for SpacingMm {
    type Output = f64;

    fn index(&self, axis: usize) -> &f64 {
        &self.0[axis]
    }
}

impl fmt::Debug for SpacingMm {
    /// The three numbers, as messages have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacings_compare_their_axes() {
        let spacing = SpacingMm::new([5.0, 0.5, 1.0]);
        assert_eq!((spacing.largest(), spacing.smallest(), spacing.anisotropy()), (5.0, 0.5, 10.0));
        assert_eq!((spacing.coarsest_axis(), spacing.voxel_volume()), (Some(0), 2.5));
        assert_eq!(SpacingMm::new([2.0, 2.0, 1.0]).coarsest_axis(), None, "two share the largest");
        assert_eq!(spacing.transposed([2, 0, 1]), SpacingMm::new([1.0, 5.0, 0.5]));
        assert_eq!(format!("{spacing:?}"), "[5.0, 0.5, 1.0]");
        assert!(spacing.is_valid());
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(!SpacingMm::new([1.0, value, 1.0]).is_valid(), "{value}");
        }
    }
}
