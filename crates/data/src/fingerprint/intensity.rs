//! Intensities of the foreground, as the reference samples and summarises them.
//!
//! Of every case and channel the same number of foreground voxels is drawn with replacement, by NumPy's
//! legacy generator seeded 1234 for each case, channels in order. The statistics are over all draws of
//! all cases together. Draws are held as distinct values with their counts, so memory grows with the
//! number of distinct foreground values, not with the 10^8 draws.
//!
//! Mean and standard deviation are summed in f64 over the sorted values (the reference: pairwise f32) and
//! rounded to f32; percentiles interpolate linearly between order statistics, as NumPy does. The
//! reference's own rounding differs by some 1e-6 relative.

use nnunet_pyformats::numpy_random::RandomState;

/// Draws over all cases together: 10e7 in the reference's code, which is 10^8.
pub const TOTAL_SAMPLES: usize = 100_000_000;

/// Seed of the draws of every case.
const SEED: u32 = 1234;

/// Summary of one channel's foreground over the whole dataset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntensityStatistics {
    /// Largest value.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// 0.5th percentile.
    pub percentile_00_5: f64,
    /// 99.5th percentile.
    pub percentile_99_5: f64,
    /// Standard deviation, divided by n.
    pub std: f64,
}

/// The draws of a case: how often each of its foreground voxels was taken.
///
/// One for all channels of a case, as the generator goes on from channel to channel.
#[derive(Debug)]
pub struct Sampler {
    random: RandomState,
    counts: Vec<u32>,
    draws: Vec<u32>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { random: RandomState::new(SEED), counts: Vec::new(), draws: vec![0; 4096] }
    }
}

impl Sampler {
    /// Draws `samples` of `foreground` with replacement (nothing if it is empty) and returns them sorted
    /// as distinct values with counts.
    pub fn sample(&mut self, foreground: &[f32], samples: usize) -> Samples {
        // More than 2^32 foreground voxels in one case are beyond any image.
        let Ok(n) = u32::try_from(foreground.len()) else { return Samples::default() };
        if n == 0 {
            return Samples::default();
        }
        self.counts.clear();
        self.counts.resize(foreground.len(), 0);
        let mut left = samples;
        while left > 0 {
            let part = left.min(self.draws.len());
            let draws = &mut self.draws[..part];
            self.random.choice_with_replacement(n, draws);
            for &index in draws.iter() {
                self.counts[index as usize] += 1;
            }
            left -= part;
        }
        let taken = foreground.iter().zip(&self.counts).filter(|&(_, &count)| count > 0);
        let mut samples = Samples { entries: taken.map(|(&v, &count)| (order_key(v), count)).collect() };
        samples.compact();
        samples
    }
}

/// Gathers the draws of many cases, in any order, without merging the whole each time: it keeps sets of
/// draws whose sizes at least double from the last to the first.
#[derive(Debug, Default)]
pub struct Pool(Vec<Samples>);

impl Pool {
    /// Adds the draws of a case.
    pub fn add(&mut self, samples: Samples) {
        self.0.push(samples);
        while let [.., a, b] = &mut self.0[..]
            && a.distinct() < 2 * b.distinct()
        {
            a.add(b);
            self.0.pop();
        }
    }

    /// All draws together.
    pub fn into_samples(self) -> Samples {
        self.0.into_iter().rev().fold(Samples::default(), |mut all, part| {
            all.add(&part);
            all
        })
    }
}

/// Values with how often each was drawn, sorted by value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// Value in an order-preserving encoding, and its count.
    entries: Vec<(u32, u32)>,
}

impl Samples {
    /// Adds the draws of another case. The result does not depend on the order of additions.
    pub fn add(&mut self, other: &Samples) {
        let mut merged = Vec::with_capacity(self.entries.len() + other.entries.len());
        let (mut a, mut b) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 <= y.0 => a.next(),
                (Some(_), None) => a.next(),
                _ => b.next(),
            };
            let Some(&(key, count)) = next else { break };
            push(&mut merged, key, count);
        }
        self.entries = merged;
    }

    /// Number of draws.
    pub fn total(&self) -> u64 {
        self.entries.iter().map(|e| u64::from(e.1)).sum()
    }

    /// Number of distinct values.
    pub fn distinct(&self) -> usize {
        self.entries.len()
    }

    /// The values in ascending order, and how often each was drawn.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = (f32, u32)> {
        self.entries.iter().map(|&(key, count)| (value(key), count))
    }

    /// Samples of [`Self::counts`], in any order. Values have to be finite.
    pub fn from_counts(counts: impl IntoIterator<Item = (f32, u32)>) -> Self {
        Self::from_entries(counts.into_iter().map(|(value, count)| (order_key(value), count)).collect())
    }

    /// The values, as keys that sort as they do, and how often each was drawn.
    pub(super) fn entries(&self) -> &[(u32, u32)] {
        &self.entries
    }

    /// Samples of [`Self::entries`].
    pub(super) fn from_entries(entries: Vec<(u32, u32)>) -> Self {
        let mut samples = Self { entries };
        samples.compact();
        samples
    }

    /// Sorts and joins equal values.
    fn compact(&mut self) {
        self.entries.sort_unstable();
        let mut joined = Vec::new();
        for &(key, count) in &self.entries {
            push(&mut joined, key, count);
        }
        self.entries = joined;
    }

    /// The summary; `None` without any draws.
    pub fn statistics(&self) -> Option<IntensityStatistics> {
        let (first, last) = (self.entries.first()?, self.entries.last()?);
        let total = self.total();
        let values = || self.entries.iter().map(|&(key, count)| (f64::from(value(key)), f64::from(count)));
        let mean = values().map(|(v, count)| v * count).sum::<f64>() / total as f64;
        let variance = values().map(|(v, count)| (v - mean).powi(2) * count).sum::<f64>() / total as f64;
        Some(IntensityStatistics {
            max: f64::from(value(last.0)),
            mean: f64::from(mean as f32),
            median: self.percentile(50.0, total),
            min: f64::from(value(first.0)),
            percentile_00_5: self.percentile(0.5, total),
            percentile_99_5: self.percentile(99.5, total),
            std: f64::from(variance.sqrt() as f32),
        })
    }

    /// `numpy.percentile(values, q)` of f32 values and an f64 `q`: the difference of the neighbours is
    /// f32, the rest f64, and the interpolation starts from the nearer neighbour.
    fn percentile(&self, q: f64, total: u64) -> f64 {
        let place = (total - 1) as f64 * (q / 100.0);
        let below = place.floor();
        let fraction = place - below;
        let a = self.at(below as u64);
        let b = self.at((below as u64 + 1).min(total - 1));
        let difference = f64::from(b - a);
        if fraction >= 0.5 {
            f64::from(b) - difference * (1.0 - fraction)
        } else {
            f64::from(a) + difference * fraction
        }
    }

    /// The value at `place` of all draws in ascending order.
    fn at(&self, place: u64) -> f32 {
        let mut passed = 0;
        for &(key, count) in &self.entries {
            passed += u64::from(count);
            if place < passed {
                return value(key);
            }
        }
        self.entries.last().map_or(f32::NAN, |e| value(e.0))
    }
}

/// Counts stay far below 2^32: all draws together are 10^8.
fn push(entries: &mut Vec<(u32, u32)>, key: u32, count: u32) {
    match entries.last_mut() {
        Some(last) if last.0 == key => last.1 = last.1.saturating_add(count),
        _ => entries.push((key, count)),
    }
}

/// Unsigned integers in the order of the floats; -0 counts as 0.
fn order_key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_keep_order_and_value(a in any::<f32>(), b in any::<f32>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(value(order_key(a)), a);
            prop_assert_eq!(order_key(a).cmp(&order_key(b)), a.partial_cmp(&b).unwrap());
        }

        #[test]
        fn merging_is_the_same_as_sampling_together(parts in proptest::collection::vec(
            proptest::collection::vec((-3i8..3, 1u8..4), 0..8), 1..5)) {
            let samples = |part: &[(i8, u8)]| {
                let mut s = Samples {
                    entries: part.iter().map(|&(v, n)| (order_key(f32::from(v)), u32::from(n))).collect(),
                };
                s.compact();
                s
            };
            let mut pool = Pool::default();
            parts.iter().for_each(|part| pool.add(samples(part)));
            prop_assert_eq!(pool.into_samples(), samples(&parts.concat()));
        }
    }

    #[test]
    fn equals_numpy_on_two_small_cases() {
        // tests/golden/fingerprint/make.py
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fingerprint/intensity.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        let samples = golden["samples"].as_u64().unwrap() as usize;
        for channel in 0..2 {
            let mut all = Samples::default();
            for case in cases {
                let mut sampler = Sampler::default();
                for c in 0..=channel {
                    let foreground: Vec<f32> =
                        case[c].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
                    let drawn = sampler.sample(&foreground, samples);
                    if c == channel {
                        all.add(&drawn);
                    }
                }
            }
            let expected = &golden["statistics"][channel];
            let s = all.statistics().unwrap();
            for (key, value, tolerance) in [
                ("max", s.max, 0.0),
                ("min", s.min, 0.0),
                ("median", s.median, 0.0),
                ("percentile_00_5", s.percentile_00_5, 0.0),
                ("percentile_99_5", s.percentile_99_5, 0.0),
                ("mean", s.mean, 1e-6),
                ("std", s.std, 1e-6),
            ] {
                let expected = expected[key].as_f64().unwrap();
                assert!((value - expected).abs() <= tolerance * expected.abs(), "{key}: {value} {expected}");
            }
        }
    }

    #[test]
    fn nothing_drawn_has_no_statistics() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.sample(&[], 100), Samples::default());
        assert_eq!(Samples::default().statistics(), None);
    }
}
