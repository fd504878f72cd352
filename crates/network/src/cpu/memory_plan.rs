//! Which buffers can share memory: values that are never alive at the same time.
//!
//! Time is counted in steps. Buffers are given slots in the order in which they come alive: the smallest
//! free slot that is large enough, else the largest free one, which grows, else a new one.

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
    order.sort_by_key(|(i, b)| (b.first, std::cmp::Reverse(b.len), *i));
    let mut plan = MemoryPlan { slot: vec![None; buffers.len()], size: Vec::new() };
    // Last step at which each slot is in use.
    let mut busy_until: Vec<usize> = Vec::new();
    for (buffer, life) in order {
        let free = || (0..plan.size.len()).filter(|&s| busy_until[s] < life.first);
        let slot = free()
            .filter(|&s| plan.size[s] >= life.len)
            .min_by_key(|&s| (plan.size[s], s))
            .or_else(|| free().max_by_key(|&s| (plan.size[s], std::cmp::Reverse(s))));
        let slot = slot.unwrap_or_else(|| {
            plan.size.push(0);
            busy_until.push(0);
            plan.size.len() - 1
        });
        plan.size[slot] = plan.size[slot].max(life.len);
        busy_until[slot] = life.last;
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
