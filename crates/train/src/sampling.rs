//! Which samples of a batch have to show foreground.

use std::fmt;
use std::sync::Arc;

use nnunet_base::parts::{Named, OptionError, Options};
use rand::{Rng, RngExt};

use super::sampler::{PatchContent, content_of_sample};

/// Share of the samples that show foreground by default.
const FOREGROUND: f64 = 0.33;

/// Decides what each sample of a batch has to show.
pub trait Sampling: fmt::Debug + Send + Sync {
    /// What sample `index` of a batch of `batch_size` has to show. Random numbers come from `rng` alone, the sample's own stream.
    fn content(&self, index: usize, batch_size: usize, rng: &mut dyn Rng) -> PatchContent;
}

/// Makes a sampling from its options.
pub type SamplingBuilder =
    Arc<dyn Fn(&mut Options<'_>) -> Result<Arc<dyn Sampling>, OptionError> + Send + Sync>;

/// The built-in samplings.
pub fn samplings() -> Named<SamplingBuilder> {
    Named::<SamplingBuilder>::new("sampling")
        .with("last_of_batch", "the last samples of each batch show foreground", Arc::new(last_of_batch))
        .with("probabilistic", "each sample shows foreground by chance", Arc::new(probabilistic))
}

fn last_of_batch(options: &mut Options<'_>) -> Result<Arc<dyn Sampling>, OptionError> {
    Ok(Arc::new(LastOfBatch { foreground: options.probability("foreground", FOREGROUND)? }))
}

fn probabilistic(options: &mut Options<'_>) -> Result<Arc<dyn Sampling>, OptionError> {
    let foreground = options.probability("foreground", FOREGROUND)?;
    Ok(match options.switch("as_last_of_batch", false)? {
        true => Arc::new(ProbabilisticAsLast { foreground }),
        false => Arc::new(Probabilistic { foreground }),
    })
}

/// The last samples of a batch show foreground, nnU-Net's default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastOfBatch {
    /// Share of the batch, rounded to whole samples.
    pub foreground: f64,
}

impl Sampling for LastOfBatch {
    fn content(&self, index: usize, batch_size: usize, _rng: &mut dyn Rng) -> PatchContent {
        content_of_sample(index, batch_size, self.foreground)
    }
}

/// Each sample shows foreground by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probabilistic {
    /// Probability of a sample to show foreground.
    pub foreground: f64,
}

impl Sampling for Probabilistic {
    fn content(&self, _index: usize, _batch_size: usize, rng: &mut dyn Rng) -> PatchContent {
        match rng.random::<f64>() < self.foreground {
            true => PatchContent::Foreground,
            false => PatchContent::Anywhere,
        }
    }
}

/// [`Probabilistic`], with the share that [`LastOfBatch`] comes to: with 0.33 and two samples that is a half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbabilisticAsLast {
    /// Share before it is rounded to whole samples of a batch.
    pub foreground: f64,
}

impl Sampling for ProbabilisticAsLast {
    fn content(&self, index: usize, batch_size: usize, rng: &mut dyn Rng) -> PatchContent {
        let is_forced = |sample: &usize| {
            content_of_sample(*sample, batch_size, self.foreground) == PatchContent::Foreground
        };
        let forced = (0..batch_size).filter(is_forced).count();
        let foreground = forced as f64 / batch_size.max(1) as f64;
        Probabilistic { foreground }.content(index, batch_size, rng)
    }
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;

    use super::*;
    use nnunet_augment::random::derive_stream;

    /// Share of samples with foreground in many batches of `batch_size`.
    fn share(choice: &Choice, batch_size: usize) -> f64 {
        let mut options = choice.reader("sampling");
        let sampling = samplings().get(&choice.kind).unwrap()(&mut options).unwrap();
        options.finish().unwrap();
        let mut rng = derive_stream(5, &[]);
        let contents = (0..6000).map(|i| sampling.content(i % batch_size, batch_size, &mut rng));
        contents.filter(|content| *content == PatchContent::Foreground).count() as f64 / 6000.0
    }

    #[test]
    fn shares_are_those_of_the_references_trainers() {
        let probabilistic = |foreground: f64| Choice::new("probabilistic").with("foreground", foreground);
        for (choice, batch_size, expected, error) in [
            (Choice::new("last_of_batch"), 2, 0.5, 0.0),
            (Choice::new("last_of_batch"), 12, 4.0 / 12.0, 1e-12),
            (Choice::new("probabilistic").with("as_last_of_batch", true), 2, 0.5, 0.02),
            (Choice::new("probabilistic").with("as_last_of_batch", true), 12, 4.0 / 12.0, 0.02),
            (probabilistic(0.33), 2, 0.33, 0.02),
            (probabilistic(0.1), 2, 0.1, 0.015),
            (probabilistic(0.0), 2, 0.0, 0.0),
        ] {
            let found = share(&choice, batch_size);
            assert!((found - expected).abs() <= error, "{choice:?}, {batch_size}: {found}");
        }
    }
}
