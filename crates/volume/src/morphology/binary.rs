//! Masks: where an image is not zero, its holes, its bounding box.

use std::ops::Range;

use rayon::prelude::*;

use super::runs::{self, Connectivity, Run};
use crate::{ChannelVolume, Volume};

/// Voxels that are not zero in any channel. NaN is not zero.
pub fn nonzero_mask(image: &ChannelVolume<f32>) -> Volume<bool> {
    const CHUNK: usize = 1 << 16;
    let mut mask = Volume::filled(image.shape(), false);
    mask.data_mut().par_chunks_mut(CHUNK).enumerate().for_each(|(i, part)| {
        for c in 0..image.channels() {
            let values = &image.channel(c)[i * CHUNK..][..part.len()];
            part.iter_mut().zip(values).for_each(|(m, &v)| *m |= v != 0.0);
        }
    });
    mask
}

/// Sets every unset voxel that has no path of unset voxels (sharing faces) out of the volume.
///
/// As `scipy.ndimage.binary_fill_holes` with its default structure. Every voxel of a volume with a single slice lies
/// at its border, so nothing is filled there.
pub fn fill_holes(mask: &mut Volume<bool>) {
    let shape = mask.shape();
    let [depth, height, width] = shape;
    if depth < 3 || height < 3 || width < 3 {
        return;
    }
    let unset = runs::find(mask.data(), shape, Connectivity::Face, |v| !v);
    let mut open = vec![false; unset.count];
    let lines = || unset.lines.windows(2).enumerate();
    for (line, range) in lines() {
        let (z, y) = (line / height, line % height);
        let border = z == 0 || z + 1 == depth || y == 0 || y + 1 == height;
        for i in range[0]..range[1] {
            let Run { start, end } = unset.runs[i];
            open[unset.groups[i]] |= border || start == 0 || end == width;
        }
    }
    for (line, range) in lines() {
        for i in range[0]..range[1] {
            let Run { start, end } = unset.runs[i];
            if !open[unset.groups[i]] {
                mask.data_mut()[line * width + start..line * width + end].fill(true);
            }
        }
    }
}

/// The smallest box (z, y, x) that holds all set voxels, `None` if there is none.
pub fn bounding_box(mask: &Volume<bool>) -> Option<[Range<usize>; 3]> {
    let [_, height, width] = mask.shape();
    let none = || ([usize::MAX; 3], [0; 3]);
    let merge = |(a, b): ([usize; 3], [usize; 3]), (c, d): ([usize; 3], [usize; 3])| {
        (std::array::from_fn(|i| a[i].min(c[i])), std::array::from_fn(|i| b[i].max(d[i])))
    };
    if mask.data().is_empty() {
        return None;
    }
    let (low, high) = mask
        .data()
        .par_chunks_exact(width)
        .enumerate()
        .filter_map(|(line, voxels)| {
            let first = voxels.iter().position(|&v| v)?;
            let last = voxels.iter().rposition(|&v| v)?;
            let (z, y) = (line / height, line % height);
            Some(([z, y, first], [z + 1, y + 1, last + 1]))
        })
        .reduce(none, merge);
    (low[0] < high[0]).then(|| std::array::from_fn(|i| low[i]..high[i]))
}
