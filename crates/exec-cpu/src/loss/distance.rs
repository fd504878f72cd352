//! Exact Euclidean distances to the voxels of a mask. Felzenszwalb and Huttenlocher 2012, Distance Transforms of Sampled
//! Functions: along x by two scans, then along y and z by the lower envelope of parabolas, in parallel over lines.

use rayon::prelude::*;

/// Distance of each voxel to the closest one where `mask` is `wanted`, with voxels of size `spacing` along (z, y, x); `None`
/// if there is none. `mask` has `shape` (z, y, x), C order.
pub(super) fn distances(
    mask: &[bool],
    wanted: bool,
    shape: [usize; 3],
    spacing: [f64; 3],
) -> Option<Vec<f32>> {
    if !mask.contains(&wanted) {
        return None;
    }
    let [depth, height, width] = shape;
    let mut squares = vec![0.0f32; mask.len()];
    squares
        .par_chunks_mut(width)
        .zip(mask.par_chunks(width))
        .with_min_len(64)
        .for_each(|(line, mask)| scan(line, mask, wanted, spacing[2] as f32));
    if height > 1 {
        let along = |plane: &mut [f32]| {
            let mut envelope = Envelope::new(height, spacing[1]);
            let mut line = vec![0.0f32; height];
            for x in 0..width {
                line.iter_mut().zip(plane.iter().skip(x).step_by(width)).for_each(|(to, from)| *to = *from);
                envelope.lower(&mut line);
                plane.iter_mut().skip(x).step_by(width).zip(&line).for_each(|(to, from)| *to = *from);
            }
        };
        squares.par_chunks_mut(height * width).for_each(along);
    }
    if depth > 1 {
        let plane = height * width;
        // Lines along z, one after the other, so that threads write to memory of their own.
        let mut lines = vec![0.0f32; mask.len()];
        lines.par_chunks_mut(depth).enumerate().with_min_len(64).for_each_init(
            || Envelope::new(depth, spacing[0]),
            |envelope, (at, line)| {
                line.iter_mut()
                    .zip(squares.iter().skip(at).step_by(plane))
                    .for_each(|(to, from)| *to = *from);
                envelope.lower(line);
            },
        );
        squares.par_chunks_mut(plane).enumerate().for_each(|(z, plane)| {
            plane.iter_mut().zip(lines.iter().skip(z).step_by(depth)).for_each(|(to, from)| *to = *from);
        });
    }
    squares.par_iter_mut().with_min_len(1 << 14).for_each(|square| *square = square.sqrt());
    Some(squares)
}

/// Squared distances within a line.
fn scan(line: &mut [f32], mask: &[bool], wanted: bool, spacing: f32) {
    let mut steps = f32::INFINITY;
    for (out, &here) in line.iter_mut().zip(mask) {
        steps = if here == wanted { 0.0 } else { steps + 1.0 };
        *out = steps;
    }
    let mut steps = f32::INFINITY;
    for (out, &here) in line.iter_mut().zip(mask).rev() {
        steps = if here == wanted { 0.0 } else { steps + 1.0 };
        let distance = out.min(steps) * spacing;
        *out = distance * distance;
    }
}

/// Lower envelope of the parabolas over the voxels of a line, with memory that is used again.
struct Envelope {
    spacing: f64,
    /// Voxels whose parabolas are part of the envelope, with the place from which on they are.
    parts: Vec<(usize, f64)>,
    heights: Vec<f64>,
}

impl Envelope {
    fn new(length: usize, spacing: f64) -> Self {
        Self { spacing, parts: Vec::with_capacity(length), heights: Vec::with_capacity(length) }
    }

    /// Replaces squared distances across the line by those that also go along it. Infinite ones have no parabola.
    fn lower(&mut self, line: &mut [f32]) {
        self.heights.clear();
        self.heights.extend(line.iter().map(|&value| f64::from(value)));
        self.parts.clear();
        let scale = self.spacing * self.spacing;
        for (at, &height) in self.heights.iter().enumerate().filter(|(_, height)| height.is_finite()) {
            let lifted = |at: usize, height: f64| height + scale * (at * at) as f64;
            let meets = |other: usize| {
                let gap = 2.0 * scale * (at - other) as f64;
                (lifted(at, height) - lifted(other, self.heights[other])) / gap
            };
            let mut from = f64::NEG_INFINITY;
            while let Some(&(last, last_from)) = self.parts.last() {
                from = meets(last);
                if from > last_from {
                    break;
                }
                self.parts.pop();
                from = f64::NEG_INFINITY;
            }
            self.parts.push((at, from));
        }
        let mut part = 0;
        for (at, out) in line.iter_mut().enumerate() {
            while self.parts.get(part + 1).is_some_and(|(_, from)| *from < at as f64) {
                part += 1;
            }
            if let Some(&(centre, _)) = self.parts.get(part) {
                let away = centre.abs_diff(at) as f64;
                *out = (self.heights[centre] + scale * away * away) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_search_over_all_voxels() {
        for (shape, spacing) in [
            ([5, 7, 6], [1.0, 1.0, 1.0]),
            ([4, 6, 9], [3.0, 0.5, 0.7]),
            ([1, 8, 11], [1.0, 2.0, 1.0]),
            ([6, 1, 1], [0.25, 1.0, 1.0]),
        ] {
            let count = shape.iter().product::<usize>();
            for rarity in [2, 5, 23, count] {
                let mask: Vec<bool> = (0..count).map(|i| i * 31 % rarity == 0 && i % 3 != 1).collect();
                let place = |i: usize| [i / shape[2] / shape[1], i / shape[2] % shape[1], i % shape[2]];
                let apart = |a: usize, b: usize| {
                    let (a, b) = (place(a), place(b));
                    (0..3).map(|k| (a[k].abs_diff(b[k]) as f64 * spacing[k]).powi(2)).sum::<f64>().sqrt()
                };
                for wanted in [true, false] {
                    let found = distances(&mask, wanted, shape, spacing).unwrap();
                    for (i, found) in found.iter().enumerate() {
                        let others = (0..count).filter(|&j| mask[j] == wanted);
                        let expected = others.map(|j| apart(i, j)).fold(f64::INFINITY, f64::min);
                        assert!(
                            (f64::from(*found) - expected).abs() < 1e-5,
                            "{shape:?} {i}: {found} {expected}"
                        );
                    }
                }
            }
        }
        assert_eq!(distances(&[true; 8], false, [2, 2, 2], [1.0; 3]), None);
    }
}
