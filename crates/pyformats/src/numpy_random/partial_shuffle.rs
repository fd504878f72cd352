//! Choices without replacement: the beginning of a shuffle, without the whole of it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{RandomState, STATE};

/// Up to this many elements a partial shuffle keeps the whole array (16 MiB); above, it keeps one
/// bit per element and draws twice.
const ARRAY_LIMIT: u64 = 1 << 22;

/// Draws between two remembered states of a partial shuffle that is replayed backwards.
const REPLAY_BLOCK: usize = 1 << 18;

impl RandomState {
    /// `choice(n, k, replace=False)`: the first `k` numbers of `permutation(n)`; all of them for
    /// `k > n`. The generator is left where the whole shuffle leaves it.
    ///
    /// Memory: 4 bytes per element up to 4 million elements, beyond that 1 bit per element plus some
    /// 50 bytes per chosen one.
    pub fn choice_without_replacement(&mut self, n: usize, k: usize) -> Vec<usize> {
        let k = k.min(n);
        if n as u64 <= ARRAY_LIMIT {
            self.partial_shuffle_forward(n, k)
        } else {
            self.partial_shuffle_replayed(n, k)
        }
    }

    /// The shuffle as NumPy runs it. What is swapped into a place from `k` on is never looked at
    /// again, so there half of the swap is enough.
    fn partial_shuffle_forward(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut items: Vec<u32> = (0..n as u32).collect();
        let mut draws = vec![0; STATE.min(n)];
        let mut i = n.saturating_sub(1);
        while i >= k.max(1) {
            let count = self.shuffle_draws(i, k.max(1), &mut draws);
            for &j in &draws[..count] {
                items[j as usize] = items[i];
                i -= 1;
            }
        }
        for i in (1..k).rev() {
            let j = self.interval(i as u64) as usize;
            items.swap(i, j);
        }
        items[..k].iter().map(|&v| v as usize).collect()
    }

    /// Draws the partners of places `first`, `first - 1`, ... of a shuffle, down to `last` or until
    /// `out` is full; returns how many. All below 2^32.
    fn shuffle_draws(&mut self, first: usize, last: usize, out: &mut [u32]) -> usize {
        let mut i = first as u32;
        let total = (first + 1 - last).min(out.len());
        let mut count = 0;
        while count < total {
            if self.position == STATE {
                self.refill();
            }
            // The mask is the same down to the next power of two.
            let mask = u32::MAX >> i.leading_zeros();
            let words = (STATE - self.position).min(total - count).min((i - (mask >> 1)) as usize);
            for &word in &self.outputs[self.position..self.position + words] {
                let value = word & mask;
                out[count] = value;
                let accepted = value <= i;
                count += usize::from(accepted);
                i -= u32::from(accepted);
            }
            self.position += words;
        }
        total
    }

    /// The same for long arrays, without the array: the swaps are followed backwards from the `k`
    /// places asked for to the places where their numbers started. Backwards, the swap of place `i`
    /// comes before that of `i + 1`, and a followed place only moves when it is the partner drawn
    /// for `i`. The draws are repeated block by block from remembered states, last block first.
    fn partial_shuffle_replayed(&mut self, n: usize, k: usize) -> Vec<usize> {
        let wide = n as u64 - 1 > u64::from(u32::MAX);
        let mut draws = vec![0u64; REPLAY_BLOCK];
        let mut narrow = vec![0u32; if wide { 0 } else { REPLAY_BLOCK }];
        let mut draw_block = |state: &mut Self, first: usize, draws: &mut [u64]| {
            let count = (first + 1 - k.max(1)).min(REPLAY_BLOCK);
            if wide {
                for (step, slot) in draws[..count].iter_mut().enumerate() {
                    *slot = state.interval((first - step) as u64);
                }
            } else {
                state.shuffle_draws(first, k.max(1), &mut narrow);
                for (slot, &value) in draws[..count].iter_mut().zip(&narrow) {
                    *slot = u64::from(value);
                }
            }
            count
        };

        let mut blocks = Vec::new();
        let mut i = n - 1;
        while i >= k.max(1) {
            blocks.push((i, self.clone()));
            i -= draw_block(self, i, &mut draws);
        }
        // The last swaps are within the first k places: afterwards place p has what was at origin[p].
        let mut origin: Vec<usize> = (0..k).collect();
        self.shuffle(&mut origin);

        // Where the number that will be at place p (p < k) before those last swaps is now.
        let mut source: Vec<usize> = (0..k).collect();
        let mut followed = vec![0u64; n.div_ceil(64)];
        let mut owner: HashMap<usize, usize, BuildHasherDefault<PlaceHasher>> = HashMap::default();
        owner.reserve(k);
        for p in 0..k {
            followed[p / 64] |= 1 << (p % 64);
            owner.insert(p, p);
        }
        for (first, mut state) in blocks.into_iter().rev() {
            let count = draw_block(&mut state, first, &mut draws);
            for step in (0..count).rev() {
                let (i, j) = (first - step, draws[step] as usize);
                if followed[j / 64] >> (j % 64) & 1 == 1
                    && i != j
                    && let Some(p) = owner.remove(&j)
                {
                    followed[j / 64] &= !(1 << (j % 64));
                    followed[i / 64] |= 1 << (i % 64);
                    owner.insert(i, p);
                    source[p] = i;
                }
            }
        }
        origin.into_iter().map(|p| source[p]).collect()
    }
}

/// Spreads consecutive places over the table: they are all different and not chosen by an attacker.
#[derive(Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte));
        }
    }

    fn write_usize(&mut self, place: usize) {
        let mixed = (self.0 ^ place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_a_partial_shuffle_agree() {
        for (n, k) in [(2, 0), (2, 1), (2, 2), (3, 1), (1000, 1), (1000, 999), (1000, 1000), (600_000, 6000)]
        {
            let (mut a, mut b) = (RandomState::new(5), RandomState::new(5));
            assert_eq!(a.partial_shuffle_forward(n, k), b.partial_shuffle_replayed(n, k), "n {n} k {k}");
            assert_eq!(a.next_u32(), b.next_u32(), "state after n {n} k {k}");
        }
    }
}
