//! Voxels that are NaN or infinite: nothing that follows can make sense of them, and one is enough to spoil the
//! normalisation of a whole image.

use std::fmt;

use rayon::prelude::*;

/// Voxels per unit of parallel work.
const PIECE: usize = 1 << 16;

/// The voxels of one channel that are NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonFinite {
    /// How many.
    pub count: u64,
    /// The first of them (z, y, x).
    pub first: [usize; 3],
    /// Its value.
    pub value: f32,
}

impl NonFinite {
    /// Looks at the voxels of one channel of `shape` (z, y, x); `None` if all are finite.
    pub fn in_channel(voxels: &[f32], shape: [usize; 3]) -> Option<Self> {
        let count_in = |piece: &[f32]| piece.iter().map(|v| u32::from(!v.is_finite())).sum::<u32>();
        let count = voxels.par_chunks(PIECE).map(|piece| u64::from(count_in(piece))).sum();
        if count == 0 {
            return None;
        }
        let index = voxels.iter().position(|v| !v.is_finite())?;
        let row = index / shape[2].max(1);
        let first = [row / shape[1].max(1), row % shape[1].max(1), index % shape[2].max(1)];
        Some(Self { count, first, value: voxels[index] })
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self.value {
            v if v.is_nan() => "NaN",
            v if v > 0.0 => "infinity",
            _ => "-infinity",
        };
        let (count, first) = (self.count, self.first);
        write!(
            f,
            "{count} voxels are NaN, infinite or beyond the range of 32-bit floats; the first is {value} at {first:?} \
             (z, y, x)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_is_placed() {
        let shape = [3, 200, 300];
        let mut voxels = vec![f32::MAX; shape.iter().product()];
        assert_eq!(NonFinite::in_channel(&voxels, shape), None);
        assert_eq!(NonFinite::in_channel(&[], [0, 4, 5]), None);
        let at = |z: usize, y: usize, x: usize| (z * 200 + y) * 300 + x;
        voxels[at(2, 7, 11)] = f32::NEG_INFINITY;
        voxels[at(2, 199, 299)] = f32::NAN;
        let found = NonFinite::in_channel(&voxels, shape).unwrap();
        assert_eq!((found.count, found.first), (2, [2, 7, 11]));
        assert!(
            found.to_string().contains("2 voxels") && found.to_string().contains("-infinity at [2, 7, 11]")
        );
    }
}
