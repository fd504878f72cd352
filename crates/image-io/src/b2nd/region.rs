//! Boxes of an array of any rank and the copying of rows between them.

use super::element::{Element, ElementType};

/// Calls `visit` for each index from `begin` (inclusive) to `end` (exclusive), in C order.
pub(super) fn for_each_index<E>(
    begin: &[usize],
    end: &[usize],
    mut visit: impl FnMut(&[usize]) -> Result<(), E>,
) -> Result<(), E> {
    if begin.iter().zip(end).any(|(b, e)| b >= e) {
        return Ok(());
    }
    let mut index = begin.to_vec();
    loop {
        visit(&index)?;
        let mut axis = index.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < end[axis] {
                break;
            }
            index[axis] = begin[axis];
        }
    }
}

/// Position of `index` in an array of `shape` in C order.
pub(super) fn linear(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (i, n)| at * n + i)
}

/// Product of the lengths, `None` on overflow.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))
}

/// The box that two boxes (origin, shape) share: begin and end on each axis.
pub(super) fn overlap(a: (&[usize], &[usize]), b: (&[usize], &[usize])) -> (Vec<usize>, Vec<usize>) {
    let begin = a.0.iter().zip(b.0).map(|(x, y)| *x.max(y)).collect();
    let ends = a.0.iter().zip(a.1).zip(b.0.iter().zip(b.1));
    (begin, ends.map(|((ao, an), (bo, bn))| (ao + an).min(bo + bn)).collect())
}

/// Copies what the block at `block_origin` shares with the region at `region_origin` from the block's bytes to the
/// region, row by row.
pub(super) fn copy_from_block<T: Element>(
    stored: ElementType,
    block: (&[usize], &[usize], &[u8]),
    region: (&[usize], &[usize], &mut [T]),
) {
    let (block_origin, block_shape, bytes) = block;
    let (region_origin, region_shape, out) = region;
    let (begin, mut end) = overlap((block_origin, block_shape), (region_origin, region_shape));
    let Some(last) = begin.len().checked_sub(1) else {
        T::decode(stored, bytes, out);
        return;
    };
    let row = end[last].saturating_sub(begin[last]);
    end[last] = end[last].min(begin[last] + 1);
    let size = stored.size();
    let relative = |index: &[usize], origin: &[usize], shape: &[usize]| {
        index.iter().zip(origin).zip(shape).fold(0, |at, ((i, o), n)| at * n + (i - o))
    };
    let copied: Result<(), std::convert::Infallible> = for_each_index(&begin, &end, |index| {
        let from = relative(index, block_origin, block_shape) * size;
        let to = relative(index, region_origin, region_shape);
        T::decode(stored, &bytes[from..from + row * size], &mut out[to..to + row]);
        Ok(())
    });
    copied.unwrap_or_default();
}

/// Copies a part (origin, shape, values) of an array to its place.
pub(super) fn paste<T: Copy>(part: (&[usize], &[usize], &[T]), whole: (&[usize], &[usize], &mut [T])) {
    let (from, part_shape, values) = part;
    let (_, shape, out) = whole;
    let row = part_shape.last().copied().unwrap_or(1);
    let mut end: Vec<usize> = from.iter().zip(part_shape).map(|(f, n)| f + n).collect();
    if let (Some(end), Some(from)) = (end.last_mut(), from.last()) {
        *end = from + 1;
    }
    let mut rows = values.chunks_exact(row.max(1));
    let copied: std::result::Result<(), std::convert::Infallible> = for_each_index(from, &end, |index| {
        let at = linear(index, shape);
        if let Some(values) = rows.next() {
            out[at..at + row].copy_from_slice(values);
        }
        Ok(())
    });
    copied.unwrap_or_default();
}
