//! Which slice of a case is shown.

use std::collections::BTreeMap;

use nnunet_volume::Volume;

use crate::evaluate::pairwise_sum;

/// The slice (along z) with the highest mean share of the classes' voxels; the first of equals, and the first of all
/// if there is no foreground.
///
/// The share of a class is relative to its voxels plus one for each class before it: as the reference counts.
pub(super) fn slice_with_most_foreground(labels: &Volume<i16>) -> usize {
    let [slices, y, x] = labels.shape();
    let mut voxels: BTreeMap<i16, Vec<f64>> = BTreeMap::new();
    for (slice, data) in labels.data().chunks((y * x).max(1)).enumerate() {
        // Labels come in runs.
        for run in data.chunk_by(|a, b| a == b).filter(|run| run[0] > 0) {
            voxels.entry(run[0]).or_insert_with(|| vec![0.0; slices])[slice] += run.len() as f64;
        }
    }
    let classes = voxels.len();
    // Shares (slice, class), those of later classes still 0.
    let mut shares = vec![0.0; slices * classes];
    for (class, counts) in voxels.values().enumerate() {
        let column = |shares: &mut [f64], value: &dyn Fn(usize, f64) -> f64| {
            let column = shares.iter_mut().skip(class).step_by(classes).enumerate();
            column.for_each(|(slice, share)| *share = value(slice, *share));
        };
        column(&mut shares, &|slice, _| counts[slice]);
        let sum = pairwise_sum(&shares);
        column(&mut shares, &|_, count| count / sum);
    }
    let mut best = (0, 0.0);
    for (slice, shares) in shares.chunks_exact(classes.max(1)).enumerate() {
        let mean = pairwise_sum(shares) / classes as f64;
        if mean > best.1 {
            best = (slice, mean);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_count_alike_whatever_their_size() {
        // Class 2 has one voxel, in the last slice; class 1 nine, in the first two, and -1 is no class.
        let slices = [[1, 1, 1, 1, 1], [1, 1, 1, 1, -1], [2, -1, -1, -1, -1]];
        let labels = Volume::new([3, 1, 5], slices.concat()).unwrap();
        // Shares: 5/9, 4/9 and 1/2 of (1 + 1 before).
        assert_eq!(slice_with_most_foreground(&labels), 0);
        assert_eq!(slice_with_most_foreground(&Volume::filled([3, 2, 2], -1)), 0);
        assert_eq!(slice_with_most_foreground(&Volume::filled([0, 2, 2], 1)), 0);
    }
}
