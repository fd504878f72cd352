//! Runs of a mask and which of them touch: union-find over runs instead of voxels.

use rayon::prelude::*;

/// Which voxels count as neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Sharing a face (6 neighbours).
    Face,
    /// Sharing a face or an edge (18 neighbours).
    Edge,
    /// Sharing a face, an edge or a corner (26 neighbours).
    Corner,
}

/// Set voxels `start..end` (along x) of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The runs of a mask, line by line in C order, each with the number of its group of touching runs.
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    /// Runs of line `z * height + y` are `lines[line]..lines[line + 1]`.
    pub(super) lines: Vec<usize>,
    /// Group of each run. Groups are numbered in the order of their first voxel.
    pub(super) groups: Vec<usize>,
    /// Number of groups.
    pub(super) count: usize,
}

/// Finds the runs of voxels for which `set` holds, and joins those that touch.
pub(super) fn find<T: Copy + Sync>(
    data: &[T],
    shape: [usize; 3],
    connectivity: Connectivity,
    set: impl Fn(T) -> bool + Sync,
) -> Runs {
    let [depth, height, width] = shape;
    if data.is_empty() {
        return Runs { runs: Vec::new(), lines: vec![0; depth * height + 1], groups: Vec::new(), count: 0 };
    }
    let slices: Vec<(Vec<Run>, Vec<usize>)> = data
        .par_chunks_exact(height * width)
        .map(|slice| {
            let (mut runs, mut ends) = (Vec::new(), Vec::with_capacity(height));
            for line in slice.chunks_exact(width) {
                let mut x = 0;
                while let Some(gap) = line[x..].iter().position(|&v| set(v)) {
                    let start = x + gap;
                    let length = line[start..].iter().position(|&v| !set(v)).unwrap_or(width - start);
                    x = start + length;
                    runs.push(Run { start, end: x });
                }
                ends.push(runs.len());
            }
            (runs, ends)
        })
        .collect();
    let mut runs = Vec::with_capacity(slices.iter().map(|(r, _)| r.len()).sum());
    let mut lines = Vec::with_capacity(depth * height + 1);
    lines.push(0);
    for (slice_runs, ends) in slices {
        lines.extend(ends.iter().map(|end| runs.len() + end));
        runs.extend(slice_runs);
    }
    let mut parents: Vec<usize> = (0..runs.len()).collect();
    // Lines already seen that touch a line: (slices back, lines across, how far a run reaches beyond its ends).
    let neighbours: &[(usize, isize, usize)] = match connectivity {
        Connectivity::Face => &[(0, -1, 0), (1, 0, 0)],
        Connectivity::Edge => &[(0, -1, 1), (1, 0, 1), (1, -1, 0), (1, 1, 0)],
        Connectivity::Corner => &[(0, -1, 1), (1, 0, 1), (1, -1, 1), (1, 1, 1)],
    };
    for z in 0..depth {
        for y in 0..height {
            let line = z * height + y;
            for &(back, across, reach) in neighbours {
                let Some(other) = z.checked_sub(back).zip(y.checked_add_signed(across)) else { continue };
                if other.1 < height {
                    let other = other.0 * height + other.1;
                    join(
                        &runs,
                        lines[line]..lines[line + 1],
                        lines[other]..lines[other + 1],
                        reach,
                        &mut parents,
                    );
                }
            }
        }
    }
    // Every root comes before its members, because the earlier of two roots stays one.
    let mut groups = vec![0; runs.len()];
    let mut count = 0;
    for run in 0..runs.len() {
        let root = root(&mut parents, run);
        if root == run {
            groups[run] = count;
            count += 1;
        } else {
            groups[run] = groups[root];
        }
    }
    Runs { runs, lines, groups, count }
}

/// Joins every run of `a` with the runs of `b` that it touches. Both lists are in order of x.
fn join(
    runs: &[Run],
    a: std::ops::Range<usize>,
    b: std::ops::Range<usize>,
    reach: usize,
    parents: &mut [usize],
) {
    let mut next = b.start;
    for i in a {
        while next < b.end && runs[next].end + reach <= runs[i].start {
            next += 1;
        }
        let mut j = next;
        while j < b.end && runs[j].start < runs[i].end + reach {
            let (p, q) = (root(parents, i), root(parents, j));
            parents[p.max(q)] = p.min(q);
            j += 1;
        }
    }
}

fn root(parents: &mut [usize], mut i: usize) -> usize {
    while parents[i] != i {
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    i
}
