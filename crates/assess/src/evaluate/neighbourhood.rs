//! Codes of the voxels around each corner of a mask, and what they say about its topology.

use nnunet_volume::Volume;

/// For every corner of a mask of shape (z, y, x) the 8 voxels around it, a bit each: 128 for the one before it along
/// all axes, 64 for the next along x, 32 along y, 8 along z. Shape (z + 1, y + 1, x + 1); beyond the mask nothing is set.
pub(super) fn corner_codes(mask: &Volume<bool>) -> Volume<u8> {
    let [depth, height, width] = mask.shape();
    codes(mask, [depth + 1, height + 1, width + 1], |z, y| {
        [(-1, -1, 64), (-1, 0, 16), (0, -1, 4), (0, 0, 1)].map(|(dz, dy, weight)| (z + dz, y + dy, weight))
    })
}

/// The same for a mask of one slice, with the 4 pixels around each corner: 8, 4 for the next along x, 2 along y. Shape
/// (1, y + 1, x + 1).
pub(super) fn flat_corner_codes(mask: &Volume<bool>) -> Volume<u8> {
    let [depth, height, width] = mask.shape();
    codes(mask, [depth, height + 1, width + 1], |z, y| [(z, y - 1, 4), (z, y, 1)])
}

/// `rows` are the rows (z, y) around a corner, with the bit of the voxel behind it; the one before it has twice that.
fn codes<const N: usize>(
    mask: &Volume<bool>,
    shape: [usize; 3],
    rows: impl Fn(isize, isize) -> [(isize, isize, u8); N],
) -> Volume<u8> {
    let [depth, height, width] = mask.shape();
    let mut codes = Volume::filled(shape, 0u8);
    if mask.data().is_empty() {
        return codes;
    }
    let inside = |i: isize, length: usize| usize::try_from(i).ok().filter(|&i| i < length);
    for (line, out) in codes.data_mut().chunks_exact_mut(shape[2]).enumerate() {
        let (z, y) = (line / shape[1], line % shape[1]);
        for (z, y, weight) in rows(z as isize, y as isize) {
            let Some((z, y)) = inside(z, depth).zip(inside(y, height)) else { continue };
            let row = &mask.data()[mask.index(z, y, 0)..][..width];
            out.iter_mut().zip(row).for_each(|(code, &set)| *code |= u8::from(set) * weight);
            out[1..].iter_mut().zip(row).for_each(|(code, &set)| *code |= u8::from(set) * (2 * weight));
        }
    }
    codes
}

/// The Euler characteristic of a mask whose voxels touch at corners: corners - edges + faces - voxels.
pub(super) fn euler_characteristic(mask: &Volume<bool>) -> i64 {
    // Of each corner: itself, the three edges, three faces and the voxel that begin there.
    const EDGES: [u8; 3] = [0b0101_0101, 0b0011_0011, 0b0000_1111];
    const FACES: [u8; 3] = [0b0001_0001, 0b0000_0101, 0b0000_0011];
    let of_code: [i64; 256] = std::array::from_fn(|code| {
        let touched = |bits: &u8| i64::from(code as u8 & bits != 0);
        touched(&255) - EDGES.iter().map(touched).sum::<i64>() + FACES.iter().map(touched).sum::<i64>()
            - touched(&1)
    });
    corner_codes(mask).data().iter().map(|&code| of_code[usize::from(code)]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euler_characteristics_of_a_ball_a_ring_and_a_shell() {
        let of = |shape: [usize; 3], unset: &[[usize; 3]]| {
            let mut mask = Volume::filled(shape, true);
            for [z, y, x] in unset {
                let i = mask.index(*z, *y, *x);
                mask.data_mut()[i] = false;
            }
            euler_characteristic(&mask)
        };
        assert_eq!(of([2, 3, 4], &[]), 1);
        assert_eq!(of([1, 3, 3], &[[0, 1, 1]]), 0);
        assert_eq!(of([3, 3, 3], &[[1, 1, 1]]), 2);
        assert_eq!(of([0, 0, 0], &[]), 0);
        // Two voxels that touch at a corner only are one piece.
        assert_eq!(of([2, 2, 1], &[[0, 1, 0], [1, 0, 0]]), 1);
    }
}
