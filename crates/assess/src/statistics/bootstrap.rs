//! Confidence intervals by drawing anew from what was measured.

use nnunet_pyformats::numpy_random::RandomState;

/// How intervals are drawn: percentile bootstrap at 95 %, with the draws of NumPy's `RandomState`, so that they equal
/// `scipy.stats.bootstrap(method="percentile")` of the same seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of draws.
    pub resamples: usize,
    /// Seed.
    pub seed: u32,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, seed: 0 }
    }
}

impl Bootstrap {
    /// The interval of a statistic of `n` things; `of` computes it from their numbers, drawn with replacement. Draws for
    /// which it is NaN are left out; NaN if nothing is left.
    pub fn interval(&self, n: usize, of: impl Fn(&[u32]) -> f64) -> [f64; 2] {
        let [interval] = self.intervals(n, |drawn| [of(drawn)]);
        interval
    }

    /// The intervals of several statistics from the same draws.
    pub fn intervals<const N: usize>(&self, n: usize, of: impl Fn(&[u32]) -> [f64; N]) -> [[f64; 2]; N] {
        let all = self.all_intervals(n, |drawn| of(drawn).to_vec());
        std::array::from_fn(|i| all.get(i).copied().unwrap_or([f64::NAN; 2]))
    }

    /// The same for as many statistics as `of` gives, always the same number.
    pub fn all_intervals(&self, n: usize, of: impl Fn(&[u32]) -> Vec<f64>) -> Vec<[f64; 2]> {
        let mut random = RandomState::new(self.seed);
        let mut drawn = vec![0; n];
        let mut values: Vec<Vec<f64>> = Vec::new();
        for _ in 0..self.resamples {
            random.choice_with_replacement(n as u32, &mut drawn);
            let statistics = of(&drawn);
            values.resize_with(statistics.len(), Vec::new);
            values.iter_mut().zip(statistics).filter(|(_, v)| !v.is_nan()).for_each(|(all, v)| all.push(v));
        }
        let interval = |mut all: Vec<f64>| {
            all.sort_unstable_by(f64::total_cmp);
            [percentile(&all, 0.025), percentile(&all, 0.975)]
        };
        values.into_iter().map(interval).collect()
    }
}

/// `numpy.percentile` with its default interpolation; NaN of nothing.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let low = at.floor() as usize;
    let (a, b) = (sorted[low], sorted[(low + 1).min(last)]);
    if a == b { a } else { a + (b - a) * (at - low as f64) }
}
