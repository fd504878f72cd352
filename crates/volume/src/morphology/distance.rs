//! Euclidean distances to a mask, exact and aware of the spacing.
//!
//! Source: P. Felzenszwalb, D. Huttenlocher: Distance Transforms of Sampled Functions (2012): along each axis in
//! turn, the lower envelope of one parabola per voxel.

use rayon::prelude::*;

use crate::{SpacingMm, Volume};

/// The squared distance in mm² from the centre of every voxel to that of the nearest set voxel of `mask`
/// (z, y, x); infinite everywhere if none is set. `spacing` (z, y, x) in mm.
pub fn squared_distances(mask: &Volume<bool>, spacing: SpacingMm) -> Volume<f64> {
    let shape = mask.shape();
    let [_, height, width] = shape;
    let values = mask.data().iter().map(|&set| if set { 0.0 } else { f64::INFINITY }).collect();
    let mut squared = Volume::new(shape, values).unwrap_or_else(|| Volume::filled(shape, f64::INFINITY));
    if squared.data().is_empty() {
        return squared;
    }
    squared.data_mut().par_chunks_exact_mut(height * width).for_each(|slice| {
        let mut envelope = Envelope::default();
        slice.chunks_exact_mut(width).for_each(|line| envelope.spread(line, spacing[2]));
        let mut column = vec![0.0; height];
        for x in 0..width {
            column.iter_mut().enumerate().for_each(|(y, v)| *v = slice[y * width + x]);
            envelope.spread(&mut column, spacing[1]);
            column.iter().enumerate().for_each(|(y, v)| slice[y * width + x] = *v);
        }
    });
    spread_along_z(&mut squared, spacing[0]);
    squared
}

/// Lines along z lie across the memory: each row of them is gathered, worked on and put back.
fn spread_along_z(squared: &mut Volume<f64>, spacing: f64) {
    let [depth, height, width] = squared.shape();
    let data = squared.data();
    let rows: Vec<Vec<f64>> = (0..height)
        .into_par_iter()
        .map(|y| {
            let mut envelope = Envelope::default();
            let mut row = Vec::with_capacity(width * depth);
            let mut column = vec![0.0; depth];
            for x in 0..width {
                column.iter_mut().enumerate().for_each(|(z, v)| *v = data[(z * height + y) * width + x]);
                envelope.spread(&mut column, spacing);
                row.extend_from_slice(&column);
            }
            row
        })
        .collect();
    squared.data_mut().par_chunks_exact_mut(width).enumerate().for_each(|(line, out)| {
        let (z, y) = (line / height, line % height);
        out.iter_mut().enumerate().for_each(|(x, v)| *v = rows[y][x * depth + z]);
    });
}

/// The lower envelope of parabolas along one line, with its memory.
#[derive(Default)]
struct Envelope {
    values: Vec<f64>,
    /// Voxels whose parabolas form the envelope, and where each begins to be the lowest (mm).
    parts: Vec<(usize, f64)>,
}

impl Envelope {
    /// Replaces every value f(p) by the minimum over q of f(q) + ((p - q) spacing)².
    fn spread(&mut self, line: &mut [f64], spacing: f64) {
        self.values.clear();
        self.values.extend_from_slice(line);
        self.parts.clear();
        for (q, &value) in self.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let at = q as f64 * spacing;
            let mut start = f64::NEG_INFINITY;
            while let Some(&(v, begin)) = self.parts.last() {
                let other = v as f64 * spacing;
                start = ((value + at * at) - (self.values[v] + other * other)) / (2.0 * (at - other));
                if start > begin {
                    break;
                }
                self.parts.pop();
                start = f64::NEG_INFINITY;
            }
            self.parts.push((q, start));
        }
        let mut part = 0;
        for (p, out) in line.iter_mut().enumerate() {
            let at = p as f64 * spacing;
            while self.parts.get(part + 1).is_some_and(|&(_, begin)| begin < at) {
                part += 1;
            }
            if let Some(&(q, _)) = self.parts.get(part) {
                let distance = (p as f64 - q as f64) * spacing;
                *out = self.values[q] + distance * distance;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_definition(mask: &Volume<bool>, spacing: SpacingMm) -> Vec<f64> {
        let [depth, height, width] = mask.shape();
        let voxels: Vec<[usize; 3]> = (0..depth)
            .flat_map(|z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])))
            .collect();
        let square = |a: &[usize; 3], b: &[usize; 3]| {
            (0..3).map(|i| ((a[i] as f64 - b[i] as f64) * spacing[i]).powi(2)).sum::<f64>()
        };
        let set: Vec<_> = voxels.iter().filter(|[z, y, x]| mask.data()[mask.index(*z, *y, *x)]).collect();
        voxels.iter().map(|p| set.iter().map(|q| square(p, q)).fold(f64::INFINITY, f64::min)).collect()
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_definition(
            shape in prop::array::uniform3(1usize..7),
            spacing in prop::array::uniform3(0.2f64..4.0),
            bits in prop::collection::vec(prop::bool::weighted(0.15), 216),
        ) {
            let n = shape.iter().product();
            let mask = Volume::new(shape, bits[..n].to_vec()).unwrap();
            let found = squared_distances(&mask, SpacingMm::new(spacing));
            for (found, expected) in found.data().iter().zip(by_definition(&mask, SpacingMm::new(spacing))) {
                prop_assert!(
                    *found == expected || (found - expected).abs() <= 1e-12 * expected,
                    "{found} {expected}"
                );
            }
        }
    }
}
