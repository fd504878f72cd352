//! How an image is cut into chunks and blocks so that training patches are cheap to read.
//!
//! The rule is nnU-Net's (2.8.1), so that files are laid out as its own: blocks start from the patch rounded up
//! to powers of two and shrink to 128 KiB, chunks grow from one block to at most 1.5 patches and 6 MiB. Goldens
//! of the reference in `tests.rs`.

/// Most bytes of a block.
const MAX_BLOCK_BYTES: usize = 128 << 10;

/// Most bytes of a chunk.
const MAX_CHUNK_BYTES: usize = 6 << 20;

/// Chunk and block shape of an array, in its axis order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Shape of a chunk.
    pub chunk: Vec<usize>,
    /// Shape of a block, the unit of decompression.
    pub block: Vec<usize>,
}

/// The layout of an `image` of shape (c, z, y, x) with elements of `element_size` bytes, from which patches of
/// shape `patch` (z, y, x) or, for slices, (y, x) are read. Chunks and blocks hold one channel.
///
/// `None` if an axis or the element is empty or the patch has another rank.
pub fn patch_layout(image: [usize; 4], patch: &[usize], element_size: usize) -> Option<Layout> {
    let (patch, slices) = match *patch {
        [y, x] => ([1, y, x], true),
        [z, y, x] => ([z, y, x], false),
        _ => return None,
    };
    let image = [image[1], image[2], image[3]];
    if image.contains(&0) || patch.contains(&0) || !(1..=16).contains(&element_size) {
        return None;
    }
    // One and a half patches, rounded down.
    let target: [usize; 3] = std::array::from_fn(|a| image[a].min(patch[a].saturating_add(patch[a] / 2)));
    let block = block_shape(image, patch, target, element_size);
    let chunk = chunk_shape(image, patch, target, block, slices, element_size);
    let with_channel = |s: [usize; 3]| vec![1, s[0], s[1], s[2]];
    Some(Layout { chunk: with_channel(chunk), block: with_channel(block) })
}

fn bytes(shape: [usize; 3], element_size: usize) -> usize {
    shape.iter().fold(element_size, |a, &b| a.saturating_mul(b))
}

fn block_shape(image: [usize; 3], patch: [usize; 3], target: [usize; 3], element_size: usize) -> [usize; 3] {
    let mut block: [usize; 3] =
        std::array::from_fn(|a| patch[a].checked_next_power_of_two().unwrap_or(usize::MAX).min(image[a]));
    while bytes(block, element_size) > MAX_BLOCK_BYTES {
        // The axis that exceeds its share of the target most; of equal ones the last.
        let share = |a: usize| block[a] as f64 / target[a] as f64;
        let mut widest = None;
        for axis in (0..3).filter(|&a| block[a] > 1) {
            if widest.is_none_or(|w| share(axis) >= share(w)) {
                widest = Some(axis);
            }
        }
        let Some(axis) = widest else { break };
        // The next smaller power of two.
        block[axis] = 1 << (block[axis] - 1).ilog2();
    }
    block
}

fn chunk_shape(
    image: [usize; 3],
    patch: [usize; 3],
    target: [usize; 3],
    block: [usize; 3],
    slices: bool,
    element_size: usize,
) -> [usize; 3] {
    let mut chunk = block;
    loop {
        let grown = |axis: usize| {
            let mut candidate = chunk;
            candidate[axis] = (chunk[axis] + block[axis]).min(target[axis]);
            candidate
        };
        let can_grow = |axis: usize| {
            let across_slices = (slices && axis == 0) || patch[axis] == 1;
            !across_slices
                && chunk[axis] < target[axis]
                && bytes(grown(axis), element_size) <= MAX_CHUNK_BYTES
        };
        // The axis that covers least of its target; of equal ones the longest of the image, then the first.
        let covered = |a: usize| chunk[a] as f64 / target[a] as f64;
        let order = |&a: &usize, &b: &usize| covered(a).total_cmp(&covered(b)).then(image[b].cmp(&image[a]));
        match (0..3).filter(|&a| can_grow(a)).min_by(order) {
            Some(axis) => chunk = grown(axis),
            None => return chunk,
        }
    }
}
