//! Centred crop of a patch out of a larger (or smaller) volume, padded with a constant.
//!
//! The centre is floor(shape / 2), the patch begins patch / 2 (floor) before it. Axis order
//! (c, z, y, x). Exact.

use nnunet_volume::ChannelVolume;

/// The patch of `patch` (z, y, x) voxels around the centre of `volume`, `padding` where it hangs over.
pub fn crop_centre<T: Copy>(volume: &ChannelVolume<T>, patch: [usize; 3], padding: T) -> ChannelVolume<T> {
    let shape = volume.shape();
    let start: [isize; 3] = std::array::from_fn(|d| (shape[d] / 2) as isize - (patch[d] / 2) as isize);
    crop(volume, start, patch, padding)
}

/// The box of `size` (z, y, x) voxels whose first voxel is `start`, `padding` where it leaves `volume`.
pub fn crop<T: Copy>(
    volume: &ChannelVolume<T>,
    start: [isize; 3],
    size: [usize; 3],
    padding: T,
) -> ChannelVolume<T> {
    let mut result = ChannelVolume::filled(volume.channels(), size, padding);
    for c in 0..volume.channels() {
        copy_box(volume.channel(c), volume.shape(), start, result.channel_mut(c), size);
    }
    result
}

/// Copies the part of the box at `start` of `size` that lies inside `source` into `target`, which
/// is the box; voxels of the box outside of `source` are left as they are.
pub fn copy_box<T: Copy>(
    source: &[T],
    shape: [usize; 3],
    start: [isize; 3],
    target: &mut [T],
    size: [usize; 3],
) {
    let inside: [std::ops::Range<usize>; 3] = std::array::from_fn(|d| {
        let low = start[d].clamp(0, shape[d] as isize);
        let high = (start[d] + size[d] as isize).clamp(low, shape[d] as isize);
        low as usize..high as usize
    });
    if inside.iter().any(|range| range.is_empty()) {
        return;
    }
    let row = inside[2].len();
    let offset = |d: usize, i: usize| (i as isize - start[d]) as usize;
    for z in inside[0].clone() {
        for y in inside[1].clone() {
            let from = (z * shape[1] + y) * shape[2] + inside[2].start;
            let to = (offset(0, z) * size[1] + offset(1, y)) * size[2] + offset(2, inside[2].start);
            target[to..to + row].copy_from_slice(&source[from..from + row]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_and_even_sizes_follow_the_floor_rules() {
        let line = |n: usize| ChannelVolume::new(1, [1, 1, n], (0..n as i16).collect()).unwrap();
        assert_eq!(crop_centre(&line(7), [1, 1, 4], -1).data(), &[1, 2, 3, 4]);
        assert_eq!(crop_centre(&line(8), [1, 1, 4], -1).data(), &[2, 3, 4, 5]);
        assert_eq!(crop_centre(&line(8), [1, 1, 5], -1).data(), &[2, 3, 4, 5, 6]);
        assert_eq!(crop_centre(&line(3), [1, 1, 6], -1).data(), &[-1, -1, 0, 1, 2, -1]);
    }

    #[test]
    fn a_box_beside_the_volume_is_padding_only() {
        let volume = ChannelVolume::filled(2, [2, 2, 2], 1.0f32);
        assert!(crop(&volume, [5, 0, 0], [1, 2, 2], 0.0).data().iter().all(|v| *v == 0.0));
        assert!(crop(&volume, [0, -9, 0], [1, 2, 2], 0.0).data().iter().all(|v| *v == 0.0));
    }
}
