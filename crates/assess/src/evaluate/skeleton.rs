//! Centrelines: masks thinned to lines without changing how their parts hang together.
//!
//! T. C. Lee, R. L. Kashyap, C. N. Chu, Building skeleton models via 3-D medial surface/axis thinning algorithms (1994). Voxels
//! are removed in the order of scikit-image's `skeletonize(method="lee")`, whose results are reproduced.

use nnunet_volume::Volume;

/// The centrelines of `mask` (z, y, x); `flat` for images of one slice.
pub(super) fn skeleton(mask: &Volume<bool>, flat: bool) -> Volume<bool> {
    let mut padded = Padded::new(mask);
    thin(&mut padded, flat);
    padded.without_padding(mask.shape())
}

/// A mask with a border of unset voxels, so that every voxel has all its neighbours.
struct Padded {
    voxels: Vec<u8>,
    row: usize,
    slice: usize,
    /// Indices of the set voxels, ascending.
    set: Vec<usize>,
}

impl Padded {
    fn new(mask: &Volume<bool>) -> Self {
        let [depth, height, width] = mask.shape();
        let (row, slice) = (width + 2, (width + 2) * (height + 2));
        let mut padded = Self { voxels: vec![0; (depth + 2) * slice], row, slice, set: Vec::new() };
        for z in 0..depth {
            for y in 0..height {
                for x in (0..width).filter(|&x| mask.data()[mask.index(z, y, x)]) {
                    let i = padded.index(z, y, x);
                    padded.voxels[i] = 1;
                    padded.set.push(i);
                }
            }
        }
        padded
    }

    fn index(&self, z: usize, y: usize, x: usize) -> usize {
        (z + 1) * self.slice + (y + 1) * self.row + x + 1
    }

    fn without_padding(&self, shape: [usize; 3]) -> Volume<bool> {
        let mut mask = Volume::filled(shape, false);
        for &i in &self.set {
            let (z, y, x) = (i / self.slice - 1, i % self.slice / self.row - 1, i % self.row - 1);
            let i = mask.index(z, y, x);
            mask.data_mut()[i] = true;
        }
        mask
    }

    fn forget_removed(&mut self) {
        let voxels = &self.voxels;
        self.set.retain(|&i| voxels[i] == 1);
    }

    /// The 26 neighbours of a voxel, a bit each, in C order.
    fn neighbours(&self, i: usize) -> u32 {
        let mut bits = 0;
        let mut bit = 0;
        for z in 0..3 {
            for y in 0..3 {
                let start = i + z * self.slice + y * self.row - self.slice - self.row - 1;
                for (x, &voxel) in self.voxels[start..start + 3].iter().enumerate() {
                    if (z, y, x) != (1, 1, 1) {
                        bits |= u32::from(voxel) << bit;
                        bit += 1;
                    }
                }
            }
        }
        bits
    }
}

/// From each of six sides in turn (flat images have four), voxels that may go are collected, then looked at again one by
/// one.
fn thin(mask: &mut Padded, flat: bool) {
    let (row, slice) = (mask.row as isize, mask.slice as isize);
    let sides = [-row, row, 1, -1, slice, -slice];
    let sides = if flat { &sides[..4] } else { &sides[..] };
    let tables = Tables::new();
    let mut unchanged = 0;
    while unchanged < sides.len() {
        unchanged = 0;
        for &side in sides {
            let outside = |i: usize| i.checked_add_signed(side).is_none_or(|beyond| mask.voxels[beyond] == 0);
            let candidates: Vec<usize> = mask
                .set
                .iter()
                .copied()
                .filter(|&i| {
                    outside(i) && {
                        let around = mask.neighbours(i);
                        around.count_ones() != 1 && tables.keeps_euler(around) && tables.is_one_piece(around)
                    }
                })
                .collect();
            let mut changed = false;
            for i in candidates {
                if tables.is_one_piece(mask.neighbours(i)) {
                    mask.voxels[i] = 0;
                    changed = true;
                }
            }
            if changed {
                mask.forget_removed();
            } else {
                unchanged += 1;
            }
        }
    }
}

/// Which of the 26 neighbours touch which, and which touch the corners, edges and faces of the voxel between them.
struct Tables {
    /// Neighbours that touch each neighbour.
    touching: [u32; 26],
    corners: Vec<u32>,
    edges: Vec<u32>,
    faces: Vec<u32>,
}

impl Tables {
    fn new() -> Self {
        let steps: Vec<[i32; 3]> =
            (0..27).filter(|&i| i != 13).map(|i| [i / 9 - 1, i / 3 % 3 - 1, i % 3 - 1]).collect();
        let those = |belongs: &dyn Fn(&[i32; 3]) -> bool| {
            steps.iter().enumerate().filter(|(_, step)| belongs(step)).fold(0, |bits, (i, _)| bits | 1 << i)
        };
        let near = |a: &[i32; 3], b: &[i32; 3]| (0..3).all(|axis| (a[axis] - b[axis]).abs() <= 1);
        let touching = std::array::from_fn(|i| those(&|step| near(step, &steps[i])));
        // A cell of the voxel's boundary lies in the direction of the neighbour that is farthest out there: those that
        // touch it have along each axis the same direction or none.
        let cells = |dimensions: i32| -> Vec<u32> {
            let outermost =
                steps.iter().filter(|step| step.iter().map(|d| d.abs()).sum::<i32>() == 3 - dimensions);
            outermost
                .map(|cell| those(&|step| (0..3).all(|axis| step[axis] == 0 || step[axis] == cell[axis])))
                .collect()
        };
        Self { touching, corners: cells(0), edges: cells(1), faces: cells(2) }
    }

    /// Whether the Euler characteristic stays without the voxel: whether that of the part of its boundary that
    /// neighbours cover is 1.
    fn keeps_euler(&self, around: u32) -> bool {
        let covered = |cells: &[u32]| cells.iter().filter(|&&cell| around & cell != 0).count();
        covered(&self.corners) + covered(&self.faces) == covered(&self.edges) + 1
    }

    /// Whether the neighbours are one piece, or none at all.
    fn is_one_piece(&self, around: u32) -> bool {
        if around == 0 {
            return true;
        }
        let mut reached = around & around.wrapping_neg();
        let mut fresh = reached;
        while fresh != 0 {
            let i = fresh.trailing_zeros() as usize;
            fresh &= fresh - 1;
            let more = self.touching[i] & around & !reached;
            reached |= more;
            fresh |= more;
        }
        reached == around
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thick_bar_becomes_a_line_and_a_ring_stays_closed() {
        let bar = skeleton(&Volume::filled([3, 3, 21], true), false);
        let count = bar.data().iter().filter(|set| **set).count();
        assert!((15..=21).contains(&count), "{count}");
        let mut ring = Volume::filled([3, 9, 9], true);
        for i in 0..3 {
            for (y, x) in (3..6).flat_map(|y| (3..6).map(move |x| (y, x))) {
                let at = ring.index(i, y, x);
                ring.data_mut()[at] = false;
            }
        }
        let thin = skeleton(&ring, false);
        assert_eq!(super::super::neighbourhood::euler_characteristic(&thin), 0);
        assert!(thin.data().iter().filter(|set| **set).count() < 30);
    }
}
