//! Distances from some voxels to a mask, without those of all the others.

use rayon::prelude::*;

use super::distance::squared_distances;
use crate::{SpacingMm, Volume};

/// Rows that are looked at for a voxel before the mask counts as far away.
const NEAR: usize = 1024;

/// What a voxel of the distances to a whole mask costs, in rows of a search.
const TRANSFORM: usize = 32;

/// The squared distances in mm² from the centres of the set voxels of `from` (in C order) to that of the nearest set voxel of
/// `mask`; infinite if none is set. Both are of one shape (z, y, x); `spacing` (z, y, x) in mm.
///
/// The same numbers as those of [`squared_distances`] at these voxels, at the price of the rows around each that are nearer
/// than the mask.
pub fn squared_distances_from(from: &Volume<bool>, mask: &Volume<bool>, spacing: SpacingMm) -> Vec<f64> {
    let width = mask.shape()[2].max(1);
    let voxels: Vec<usize> =
        from.data().iter().enumerate().filter_map(|(i, &set)| set.then_some(i)).collect();
    if voxels.is_empty() || !mask.data().contains(&true) {
        return vec![f64::INFINITY; voxels.len()];
    }
    let mut gaps = vec![NOTHING; mask.data().len()];
    let lines = gaps.par_chunks_exact_mut(width).zip(mask.data().par_chunks_exact(width));
    lines.for_each(|(gaps, line)| row_gaps(line, gaps));
    let search = Search { gaps: &gaps, shape: mask.shape(), spacing };
    let mut squared: Vec<Option<f64>> = voxels.par_iter().map(|&voxel| search.nearest(voxel, NEAR)).collect();

    let far: Vec<usize> = (0..voxels.len()).filter(|&i| squared[i].is_none()).collect();
    let rows = gaps.len() / width;
    if far.len().saturating_mul(rows) <= gaps.len().saturating_mul(TRANSFORM) {
        let found: Vec<_> = far.par_iter().map(|&i| search.nearest(voxels[i], usize::MAX)).collect();
        far.into_iter().zip(found).for_each(|(i, distance)| squared[i] = distance);
    } else {
        let all = squared_distances(mask, spacing);
        far.into_iter().for_each(|i| squared[i] = Some(all.data()[voxels[i]]));
    }
    squared.into_iter().map(|distance| distance.unwrap_or(f64::INFINITY)).collect()
}

/// The gap of a voxel in a row without any set voxel.
const NOTHING: u32 = u32::MAX;

/// For each voxel of a row, how many voxels away the nearest set one is.
fn row_gaps(line: &[bool], gaps: &mut [u32]) {
    let mut gap = NOTHING;
    for (out, &set) in gaps.iter_mut().zip(line) {
        gap = if set { 0 } else { gap.saturating_add(1) };
        *out = gap;
    }
    gap = NOTHING;
    for (out, &set) in gaps.iter_mut().zip(line).rev() {
        gap = if set { 0 } else { gap.saturating_add(1) };
        *out = gap.min(*out);
    }
}

struct Search<'a> {
    /// Of each voxel, to the nearest set one of its row.
    gaps: &'a [u32],
    shape: [usize; 3],
    spacing: SpacingMm,
}

impl Search<'_> {
    /// The squared distance to the nearest set voxel, looking at rows farther and farther away until none can be nearer;
    /// `None` if that takes more than `rows`.
    fn nearest(&self, voxel: usize, rows: usize) -> Option<f64> {
        let [depth, height, width] = self.shape;
        let (z, y, x) = (voxel / (height * width), voxel / width % height, voxel % width);
        let [dz, dy, dx] = self.spacing.along_axes();
        let squared = |steps: usize, mm: f64| (steps as f64 * mm) * (steps as f64 * mm);
        let mut best = f64::INFINITY;
        let mut seen = 0;
        for far_z in 0..depth {
            let along_z = squared(far_z, dz);
            if along_z >= best {
                break;
            }
            for z in both_ways(z, far_z, depth) {
                for far_y in 0..height {
                    let along_y = squared(far_y, dy);
                    if along_y + along_z >= best {
                        break;
                    }
                    for y in both_ways(y, far_y, height) {
                        seen += 1;
                        let gap = self.gaps[(z * height + y) * width + x];
                        if gap != NOTHING {
                            // Summed in the order of a transform along x, y and z.
                            best = best.min(squared(gap as usize, dx) + along_y + along_z);
                        }
                    }
                }
                if seen > rows {
                    return None;
                }
            }
        }
        Some(best)
    }
}

/// The places `steps` before and behind `start` that lie below `length`; one for no steps.
fn both_ways(start: usize, steps: usize, length: usize) -> impl Iterator<Item = usize> {
    let before = start.checked_sub(steps);
    let behind = Some(start + steps).filter(|&place| steps > 0 && place < length);
    before.into_iter().chain(behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at_set<T: Copy>(values: &[T], from: &Volume<bool>) -> Vec<T> {
        values.iter().zip(from.data()).filter(|(_, set)| **set).map(|(value, _)| *value).collect()
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_transform(
            shape in prop::array::uniform3(1usize..9),
            spacing in prop::array::uniform3(0.2f64..4.0),
            bits in prop::collection::vec((prop::bool::weighted(0.08), any::<bool>()), 512),
        ) {
            let n = shape.iter().product();
            let mask = Volume::new(shape, bits[..n].iter().map(|bits| bits.0).collect()).unwrap();
            let from = Volume::new(shape, bits[..n].iter().map(|bits| bits.1).collect()).unwrap();
            let found = squared_distances_from(&from, &mask, SpacingMm::new(spacing));
            let expected = at_set(squared_distances(&mask, SpacingMm::new(spacing)).data(), &from);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!(*found == expected || (found - expected).abs() <= 1e-12 * expected, "{found} {expected}");
            }
        }
    }

    #[test]
    fn masks_far_away_are_found_for_few_voxels_and_for_many() {
        let shape = [90, 90, 5];
        let mut mask = Volume::filled(shape, false);
        mask.data_mut()[0] = true;
        for voxels in [1, 90 * 90] {
            let mut from = Volume::filled(shape, false);
            from.data_mut().iter_mut().rev().step_by(5).take(voxels).for_each(|set| *set = true);
            let found = squared_distances_from(&from, &mask, SpacingMm::new([1.0, 2.0, 0.5]));
            let expected = at_set(squared_distances(&mask, SpacingMm::new([1.0, 2.0, 0.5])).data(), &from);
            assert_eq!(found, expected, "{voxels}");
            assert_eq!(found.last(), Some(&(89.0f64.powi(2) + 178.0f64.powi(2) + 4.0)));
        }
        assert_eq!(
            squared_distances_from(&mask, &Volume::filled(shape, false), SpacingMm::UNIT),
            [f64::INFINITY]
        );
        assert!(squared_distances_from(&Volume::filled(shape, false), &mask, SpacingMm::UNIT).is_empty());
    }
}
