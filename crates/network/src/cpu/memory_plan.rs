//! Which buffers can share memory: values that are never alive at the same time.
//!
//! Time is counted in steps. Buffers are given slots from the largest to the smallest: the smallest slot that no
//! buffer of an overlapping lifetime has, else a new one. So a small buffer that lives long does not keep a large slot from
//! the buffers that need one.

/// A buffer's size and the steps, both included, between which it must keep its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Slots for a set of buffers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemoryPlan {
    /// Slot of each buffer; `None` for one that is never alive.
    pub(super) slot: Vec<Option<usize>>,
    /// Elements of each slot.
    pub(super) size: Vec<usize>,
}

impl MemoryPlan {
    /// Elements of all slots.
    pub(super) fn total(&self) -> usize {
        self.size.iter().sum()
    }
}

/// Assigns slots. A buffer whose lifetime is `None` gets none.
pub(super) fn assign(buffers: &[Option<Lifetime>]) -> MemoryPlan {
    let mut order: Vec<(usize, Lifetime)> =
        buffers.iter().enumerate().filter_map(|(i, b)| b.map(|b| (i, b))).collect();
    order.sort_by_key(|(i, b)| (std::cmp::Reverse(b.len), b.first, *i));
    let mut plan = MemoryPlan { slot: vec![None; buffers.len()], size: Vec::new() };
    // Lifetimes of the buffers of each slot.
    let mut taken: Vec<Vec<Lifetime>> = Vec::new();
    for (buffer, life) in order {
        let apart = |other: &Lifetime| other.last < life.first || life.last < other.first;
        // Later slots are smaller.
        let free = (0..taken.len()).rev().find(|&slot| taken[slot].iter().all(apart));
        let slot = free.unwrap_or_else(|| {
            plan.size.push(life.len);
            taken.push(Vec::new());
            taken.len() - 1
        });
        taken[slot].push(life);
        plan.slot[buffer] = Some(slot);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life(len: usize, first: usize, last: usize) -> Option<Lifetime> {
        Some(Lifetime { len, first, last })
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let chain: Vec<_> = (0..10).map(|i| life(100, i, i + 1)).collect();
        let plan = assign(&chain);
        assert_eq!(plan.size, [100, 100]);
    }

    #[test]
    fn smallest_fitting_slot_is_taken() {
        let plan = assign(&[life(100, 0, 0), life(10, 0, 0), life(5, 1, 1), None]);
        assert_eq!(plan.slot, [Some(0), Some(1), Some(1), None]);
        assert_eq!(plan.total(), 110);
    }

    proptest! {
        #[test]
        fn living_buffers_never_share(lives in prop::collection::vec((1usize..1000, 0usize..40, 0usize..20), 1..40)) {
            let buffers: Vec<_> = lives.iter().map(|&(len, first, more)| life(len, first, first + more)).collect();
            let plan = assign(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                let a = a.unwrap();
                prop_assert!(plan.size[plan.slot[i].unwrap()] >= a.len);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let b = b.unwrap();
                    let together = a.first <= b.last && b.first <= a.last;
                    prop_assert!(!together || plan.slot[i] != plan.slot[j]);
                }
            }
        }
    }
}
