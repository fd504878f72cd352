//! Median filter over a cube (a square for 2-D patches) of voxels, exact.
//!
//! A cube of edge k covers k / 2 voxels (floor) before the centre and the rest after it; of an even number of values the
//! upper middle one is taken; the image is reflected at its border with the border voxel repeated, as in SciPy. Axis order
//! (z, y, x).
//!
//! Voxels are replaced by their ranks in the whole image, so that the cube is a set of distinct numbers. It slides along
//! x: a face enters, a face leaves, and the median moves a few members up or down. A step costs about 2 k^2 updates of a
//! bit set instead of a selection among k^3 values.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, CountRange};
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Median-filters channels.
#[derive(Debug, Clone, PartialEq)]
pub struct MedianFilter {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Edge of the cube in voxels.
    pub size: CountRange,
}

/// Largest edge: beyond it the filter takes minutes and leaves nothing of an image.
const LARGEST: usize = 32;

impl MedianFilter {
    /// Options: `size`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let filter = Self {
            channels: ChannelChoice::read(options, context, false)?,
            size: CountRange::read(options, "size", CountRange::new(2, 7), 1)?,
        };
        if filter.size.high > LARGEST {
            return Err(options.invalid("size", format!("at most {LARGEST} voxels")).into());
        }
        Ok(Some(Arc::new(filter)))
    }
}

impl Transform for MedianFilter {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let sizes = self.channels.draw(image.channels(), context.rng, |rng| self.size.sample(rng));
        for (c, size) in sizes.into_iter().enumerate() {
            if let Some(size) = size {
                let window = std::array::from_fn(|d| if d < first { 1 } else { size });
                median_filter(image.channel_mut(c), shape, window);
            }
        }
    }
}

/// Replaces every voxel of a channel of `shape` (z, y, x) by the median of the window of `window` voxels around it.
pub fn median_filter(channel: &mut [f32], shape: [usize; 3], window: [usize; 3]) {
    if channel.is_empty() || window == [1; 3] {
        return;
    }
    let (ranks, values, padded) = padded_ranks(channel, shape, window);
    let mut members = RankSet::new(values.len());
    let target = window.iter().product::<usize>() / 2;
    let column = |z: usize, y: usize, x: usize| {
        let ranks = &ranks;
        (z..z + window[0])
            .flat_map(move |z| (y..y + window[1]).map(move |y| ranks[(z * padded[1] + y) * padded[2] + x]))
    };
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            for x in 0..window[2] {
                column(z, y, x).for_each(|rank| members.insert(rank));
            }
            let row = &mut channel[(z * shape[1] + y) * shape[2]..][..shape[2]];
            for (x, value) in row.iter_mut().enumerate() {
                *value = values[members.member(target)];
                column(z, y, x).for_each(|rank| members.remove(rank));
                if x + 1 < shape[2] {
                    column(z, y, x + window[2]).for_each(|rank| members.insert(rank));
                }
            }
            for x in shape[2]..shape[2] + window[2] - 1 {
                column(z, y, x).for_each(|rank| members.remove(rank));
            }
        }
    }
}

/// The rank of every voxel of the reflected image, the values in the order of their ranks, and its shape.
fn padded_ranks(channel: &[f32], shape: [usize; 3], window: [usize; 3]) -> (Vec<u32>, Vec<f32>, [usize; 3]) {
    let padded: [usize; 3] = std::array::from_fn(|d| shape[d] + window[d] - 1);
    let sources: [Vec<usize>; 3] = std::array::from_fn(|d| {
        let before = (window[d] / 2) as isize;
        (0..padded[d]).map(|i| reflect_with_border(i as isize - before, shape[d])).collect()
    });
    let mut keys = Vec::with_capacity(padded.iter().product());
    for &z in &sources[0] {
        for &y in &sources[1] {
            let row = &channel[(z * shape[1] + y) * shape[2]..][..shape[2]];
            for &x in &sources[2] {
                keys.push((u64::from(ordered_bits(row[x])) << 32) | keys.len() as u64);
            }
        }
    }
    keys.sort_unstable();
    let mut ranks = vec![0u32; keys.len()];
    let mut values = Vec::with_capacity(keys.len());
    for (rank, key) in keys.into_iter().enumerate() {
        ranks[(key & 0xffff_ffff) as usize] = rank as u32;
        values.push(value_of_bits((key >> 32) as u32));
    }
    (ranks, values, padded)
}

/// Bits that compare like the numbers.
fn ordered_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
}

fn value_of_bits(ordered: u32) -> f32 {
    f32::from_bits(if ordered >> 31 == 1 { ordered & 0x7fff_ffff } else { !ordered })
}

/// Index `i` reflected into 0..length at the outer faces of the border voxels.
pub(super) fn reflect_with_border(i: isize, length: usize) -> usize {
    let length = length as isize;
    let i = i.rem_euclid(2 * length);
    i.min(2 * length - 1 - i) as usize
}

/// A set of ranks that knows its member of a given order. Two coarser levels say which words below them have members.
struct RankSet {
    words: Vec<u64>,
    groups: Vec<u64>,
    blocks: Vec<u64>,
    /// Rank near the last member that was asked for.
    pivot: usize,
    /// Members below the pivot.
    below: usize,
}

impl RankSet {
    fn new(ranks: usize) -> Self {
        let words = ranks / 64 + 1;
        let groups = words / 64 + 1;
        Self {
            words: vec![0; words],
            groups: vec![0; groups],
            blocks: vec![0; groups / 64 + 1],
            pivot: 0,
            below: 0,
        }
    }

    fn insert(&mut self, rank: u32) {
        let rank = rank as usize;
        let (word, group) = (rank / 64, rank / 4096);
        self.words[word] |= 1 << (rank % 64);
        self.groups[group] |= 1 << (word % 64);
        self.blocks[group / 64] |= 1 << (group % 64);
        self.below += usize::from(rank < self.pivot);
    }

    fn remove(&mut self, rank: u32) {
        let rank = rank as usize;
        let (word, group) = (rank / 64, rank / 4096);
        self.words[word] &= !(1 << (rank % 64));
        if self.words[word] == 0 {
            self.groups[group] &= !(1 << (word % 64));
            if self.groups[group] == 0 {
                self.blocks[group / 64] &= !(1 << (group % 64));
            }
        }
        self.below -= usize::from(rank < self.pivot);
    }

    /// The member that has `target` members below it; the set has more than `target` members.
    fn member(&mut self, target: usize) -> usize {
        while self.below > target {
            self.pivot = self.last_before(self.pivot);
            self.below -= 1;
        }
        self.pivot = self.first_from(self.pivot);
        while self.below < target {
            self.pivot = self.first_from(self.pivot + 1);
            self.below += 1;
        }
        self.pivot
    }

    /// The smallest member of at least `rank`, which exists.
    fn first_from(&self, rank: usize) -> usize {
        let word = rank / 64;
        let rest = self.words[word] & (!0 << (rank % 64));
        if rest != 0 {
            return word * 64 + rest.trailing_zeros() as usize;
        }
        let word = self.first_word_after(word);
        word * 64 + self.words[word].trailing_zeros() as usize
    }

    fn first_word_after(&self, word: usize) -> usize {
        let next = word + 1;
        let group = next / 64;
        let rest = self.groups.get(group).map_or(0, |bits| bits & (!0 << (next % 64)));
        if rest != 0 {
            return group * 64 + rest.trailing_zeros() as usize;
        }
        let next = group + 1;
        let rest = self.blocks.get(next / 64).map_or(0, |bits| bits & (!0 << (next % 64)));
        let group = match rest {
            0 => (next / 64 + 1..self.blocks.len())
                .find(|&block| self.blocks[block] != 0)
                .map_or(0, |block| block * 64 + self.blocks[block].trailing_zeros() as usize),
            rest => next / 64 * 64 + rest.trailing_zeros() as usize,
        };
        group * 64 + self.groups[group].trailing_zeros() as usize
    }

    /// The largest member below `rank`, which exists.
    fn last_before(&self, rank: usize) -> usize {
        let word = rank / 64;
        let rest = self.words[word] & !(!0 << (rank % 64));
        if rest != 0 {
            return word * 64 + highest(rest);
        }
        let word = self.last_word_before(word);
        word * 64 + highest(self.words[word])
    }

    fn last_word_before(&self, word: usize) -> usize {
        let group = word / 64;
        let rest = self.groups[group] & !(!0 << (word % 64));
        if rest != 0 {
            return group * 64 + highest(rest);
        }
        let rest = self.blocks[group / 64] & !(!0 << (group % 64));
        let group = match rest {
            0 => (0..group / 64)
                .rev()
                .find(|&block| self.blocks[block] != 0)
                .map_or(0, |block| block * 64 + highest(self.blocks[block])),
            rest => group / 64 * 64 + highest(rest),
        };
        group * 64 + highest(self.groups[group])
    }
}

/// Index of the highest bit that is set.
fn highest(bits: u64) -> usize {
    63usize.saturating_sub(bits.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: sort the values of every window.
    fn sorted_windows(channel: &[f32], shape: [usize; 3], window: [usize; 3]) -> Vec<f32> {
        let mut result = Vec::new();
        for z in 0..shape[0] as isize {
            for y in 0..shape[1] as isize {
                for x in 0..shape[2] as isize {
                    let mut values = Vec::new();
                    for dz in 0..window[0] as isize {
                        for dy in 0..window[1] as isize {
                            for dx in 0..window[2] as isize {
                                let at = [z + dz, y + dy, x + dx];
                                let [z, y, x] = std::array::from_fn(|d| {
                                    reflect_with_border(at[d] - (window[d] / 2) as isize, shape[d])
                                });
                                values.push(channel[(z * shape[1] + y) * shape[2] + x]);
                            }
                        }
                    }
                    values.sort_by(f32::total_cmp);
                    result.push(values[values.len() / 2]);
                }
            }
        }
        result
    }

    #[test]
    fn every_window_gives_its_median() {
        // Values with and without ties, spread over all levels of the set, axes shorter than the window.
        let shapes = [[5, 6, 7], [1, 9, 11], [3, 2, 20], [2, 70, 80]];
        for (shape, distinct) in shapes.into_iter().flat_map(|s| [(s, 5), (s, 100_003)]) {
            let n: usize = shape.iter().product();
            let before: Vec<f32> = (0..n).map(|i| (i * 7919 % distinct) as f32 * 0.37 - 3.0).collect();
            for size in 2..=7 {
                let window = [if shape[0] == 1 { 1 } else { size }, size, size];
                let mut after = before.clone();
                median_filter(&mut after, shape, window);
                assert!(after == sorted_windows(&before, shape, window), "{shape:?} {window:?}");
            }
        }
    }

    #[test]
    fn bits_keep_the_order_and_the_number() {
        let numbers = [f32::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-30, 7.0];
        assert!(numbers.windows(2).all(|pair| ordered_bits(pair[0]) < ordered_bits(pair[1])));
        assert!(numbers.iter().all(|n| value_of_bits(ordered_bits(*n)).to_bits() == n.to_bits()));
    }
}
