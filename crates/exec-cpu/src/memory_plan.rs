//! Where buffers lie in the executor's memory: values that are never alive at the same time can share places.
//!
//! Time is counted in steps. Buffers are placed from the largest to the smallest, each as low as it fits between those of
//! overlapping lifetimes. So small buffers use the room that large ones leave while they are not alive.

use std::ops::Range;

/// A buffer's size and the steps, both included, between which it must keep its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Places for a set of buffers, in elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemoryPlan {
    /// Place of each buffer; `None` for one that is never alive.
    pub(super) place: Vec<Option<Range<usize>>>,
    /// Elements of the whole memory.
    pub(super) len: usize,
}

/// Assigns places. A buffer whose lifetime is `None` gets none.
pub(super) fn assign(buffers: &[Option<Lifetime>]) -> MemoryPlan {
    let mut order: Vec<(usize, Lifetime)> =
        buffers.iter().enumerate().filter_map(|(i, b)| b.map(|b| (i, b))).collect();
    order.sort_by_key(|(i, b)| (std::cmp::Reverse(b.len), b.first, *i));
    let mut plan = MemoryPlan { place: vec![None; buffers.len()], len: 0 };
    // Buffers with places, in the order of their starts.
    let mut placed: Vec<(Range<usize>, Lifetime)> = Vec::new();
    for (buffer, life) in order {
        let together = |other: &Lifetime| other.first <= life.last && life.first <= other.last;
        let mut start = 0;
        for (place, _) in placed.iter().filter(|(_, other)| together(other)) {
            if start + life.len <= place.start {
                break;
            }
            start = start.max(place.end);
        }
        let place = start..start + life.len;
        plan.len = plan.len.max(place.end);
        plan.place[buffer] = Some(place.clone());
        let at = placed.partition_point(|(other, _)| other.start <= start);
        placed.insert(at, (place, life));
    }
    plan
}

/// The memory while some places of it are written.
#[derive(Debug, Clone)]
pub(super) struct Rest<'a> {
    /// What is left between the places written, each with its start.
    gaps: Vec<(usize, &'a [f32])>,
}

impl<'a> Rest<'a> {
    /// What lies at `place`; `None` if a part of it is being written or it is not in the memory.
    pub(super) fn get(&self, place: &Range<usize>) -> Option<&'a [f32]> {
        let (start, values) = self.gaps.iter().rev().find(|(start, _)| *start <= place.start)?;
        values.get(place.start - start..place.end - start)
    }
}

/// Lends `places`, in their order, to be written and the rest of `memory` to be read. A place that is `None`, not in the memory, or
/// overlaps an earlier one of the list is lent as an empty slice.
pub(super) fn lend<'a>(
    memory: &'a mut [f32],
    places: &[Option<Range<usize>>],
) -> (Vec<&'a mut [f32]>, Rest<'a>) {
    let mut order: Vec<(usize, &Range<usize>)> =
        places.iter().enumerate().filter_map(|(i, place)| place.as_ref().map(|place| (i, place))).collect();
    order.sort_by_key(|(i, place)| (place.start, *i));
    let mut written: Vec<&'a mut [f32]> = places.iter().map(|_| &mut [][..]).collect();
    let mut gaps = Vec::with_capacity(order.len() + 1);
    let (mut left, mut start) = (memory, 0);
    for (index, place) in order {
        if place.start < start || place.end - start > left.len() {
            continue;
        }
        let (gap, behind) = left.split_at_mut(place.start - start);
        let (part, behind) = behind.split_at_mut(place.len());
        gaps.push((start, &*gap));
        written[index] = part;
        (left, start) = (behind, place.end);
    }
    gaps.push((start, &*left));
    (written, Rest { gaps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life(len: usize, first: usize, last: usize) -> Option<Lifetime> {
        Some(Lifetime { len, first, last })
    }

    #[test]
    fn a_chain_needs_room_for_two() {
        let chain: Vec<_> = (0..10).map(|i| life(100, i, i + 1)).collect();
        assert_eq!(assign(&chain).len, 200);
    }

    #[test]
    fn small_buffers_lie_where_large_ones_are_not_alive() {
        let plan = assign(&[life(100, 0, 0), life(10, 0, 9), life(50, 1, 1), life(50, 1, 2), None]);
        assert_eq!(plan.place, [Some(0..100), Some(100..110), Some(0..50), Some(50..100), None]);
        assert_eq!(plan.len, 110);
    }

    #[test]
    fn what_is_lent_is_apart_from_the_rest() {
        let mut memory: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let (written, rest) = lend(&mut memory, &[Some(6..8), None, Some(1..3), Some(2..4), Some(9..11)]);
        assert_eq!(written, [&[6.0, 7.0][..], &[], &[1.0, 2.0], &[], &[]]);
        assert_eq!(rest.get(&(3..6)), Some(&[3.0, 4.0, 5.0][..]));
        assert_eq!(rest.get(&(8..10)), Some(&[8.0, 9.0][..]));
        assert_eq!(rest.get(&(0..1)), Some(&[0.0][..]));
        for part_written in [5..7, 0..2, 2..4, 6..7, 8..11] {
            assert_eq!(rest.get(&part_written), None, "{part_written:?}");
        }
    }

    proptest! {
        #[test]
        fn living_buffers_never_overlap(lives in prop::collection::vec((1usize..1000, 0usize..40, 0usize..20), 1..40)) {
            let buffers: Vec<_> = lives.iter().map(|&(len, first, more)| life(len, first, first + more)).collect();
            let plan = assign(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                let (a, place) = (a.unwrap(), plan.place[i].clone().unwrap());
                prop_assert!(place.len() == a.len && place.end <= plan.len);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let (b, other) = (b.unwrap(), plan.place[j].clone().unwrap());
                    let together = a.first <= b.last && b.first <= a.last;
                    prop_assert!(!together || place.end <= other.start || other.end <= place.start);
                }
            }
        }
    }
}
