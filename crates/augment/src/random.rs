//! Random streams and the distributions that the transforms draw from.
//!
//! Every sample has a stream of its own, derived from (seed, purpose, epoch, iteration, sample), so
//! that neither resuming a run nor the number of loader threads changes what the network sees.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// The generator that a sample draws from.
pub type SampleRng = Pcg64;

/// What a stream of samples is used for; training and validation draw from unrelated streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Samples that the network learns from.
    Training,
    /// Samples of the online evaluation.
    Validation,
}

/// Names one sample of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleAddress {
    /// Training or validation.
    pub purpose: Purpose,
    /// Epoch, counted from 0.
    pub epoch: u64,
    /// Iteration within the epoch, counted from 0.
    pub iteration: u64,
    /// Position in the batch, counted from 0.
    pub sample: u64,
}

impl SampleAddress {
    /// The random stream of this sample in a run with `seed`.
    pub fn stream(&self, seed: u64) -> SampleRng {
        let purpose = match self.purpose {
            Purpose::Training => 1,
            Purpose::Validation => 2,
        };
        derive_stream(seed, &[purpose, self.epoch, self.iteration, self.sample])
    }
}

/// A generator whose state depends on every bit of `seed` and of each number of `path`.
pub fn derive_stream(seed: u64, path: &[u64]) -> SampleRng {
    let mut key = [0u8; 32];
    for (lane, bytes) in key.chunks_exact_mut(8).enumerate() {
        let start = mix(seed ^ mix(lane as u64 + 1));
        let hash = path.iter().fold(start, |hash, &part| mix(hash ^ mix(part.wrapping_add(lane as u64))));
        bytes.copy_from_slice(&hash.to_le_bytes());
    }
    Pcg64::from_seed(key)
}

/// The finaliser of SplitMix64: a bijection in which every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A half-open interval of real numbers to draw from uniformly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UniformRange {
    /// Smallest value.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl UniformRange {
    /// The interval from `low` to `high`.
    pub const fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// One value.
    pub fn sample(&self, rng: &mut impl Rng) -> f64 {
        self.low + (self.high - self.low) * rng.random::<f64>()
    }
}

/// True with probability `probability`. Where the answer is certain, nothing is drawn.
pub fn decide(probability: f64, rng: &mut impl Rng) -> bool {
    if probability <= 0.0 || probability >= 1.0 {
        return probability >= 1.0;
    }
    rng.random::<f64>() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_neighbouring_samples_differ_and_repeat() {
        let address = SampleAddress { purpose: Purpose::Training, epoch: 3, iteration: 7, sample: 1 };
        let first: Vec<u64> = (0..4).map(|_| address.stream(5).random()).collect();
        assert!(first.iter().all(|v| *v == first[0]), "a stream starts at the same place each time");
        let neighbours = [
            SampleAddress { epoch: 4, ..address },
            SampleAddress { iteration: 8, ..address },
            SampleAddress { sample: 2, ..address },
            SampleAddress { epoch: 7, iteration: 3, ..address },
            SampleAddress { purpose: Purpose::Validation, ..address },
        ];
        for other in neighbours {
            assert_ne!(other.stream(5).random::<u64>(), first[0], "{other:?}");
        }
        assert_ne!(address.stream(6).random::<u64>(), first[0]);
    }

    #[test]
    fn certain_decisions_draw_nothing() {
        let mut rng = derive_stream(1, &[]);
        let next = rng.clone().random::<u64>();
        assert!(decide(1.0, &mut rng) && !decide(0.0, &mut rng));
        assert_eq!(rng.random::<u64>(), next);
        let yes = (0..4000).filter(|_| decide(0.3, &mut rng)).count();
        assert!((1100..1300).contains(&yes), "{yes} of 4000");
    }
}
