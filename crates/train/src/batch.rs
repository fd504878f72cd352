//! Puts batches together: cases, crops, augmentation, stacking. A batch follows from (seed, purpose,
//! epoch, iteration) alone.

use super::case_source::{CaseSource, SourceError};
use super::sampler::PatchSampler;
use super::sampling::Sampling;
use nnunet_augment::{
    AugmentError, AugmentationPolicy, AugmentedSample, FinishPolicy, Purpose, SampleAddress, SampleTarget,
    Scratch,
};
use nnunet_base::progress::Interrupted;
use nnunet_graph::Tensor;
use nnunet_graph::backend::BatchRef;
use nnunet_graph::loss::{LabelBatch, RegionBatch, Target, Targets, Validity};
use rand::RngExt;
use std::sync::Arc;

/// What the network learns from or is evaluated on in one iteration.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Input of the network (n, channel, z, y, x).
    pub image: Tensor,
    /// Targets of each output, full resolution first.
    pub targets: Targets,
    /// Name of each sample's case.
    pub cases: Vec<String>,
    /// First voxel (z, y, x) of each sample's crop in the preprocessed case, before augmentation. Negative where the crop
    /// begins outside of the case; empty for batches that are not made of cases.
    pub starts: Vec<[isize; 3]>,
}

impl Batch {
    /// What a training session needs of it.
    pub fn view(&self) -> BatchRef<'_> {
        BatchRef { image: &self.image, targets: &self.targets }
    }
}

/// What happens to a crop.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Random augmentation of a crop of the initial patch size.
    Training(Box<AugmentationPolicy>),
    /// Targets only, of a crop of the patch size.
    Validation {
        /// Makes the targets.
        finish: FinishPolicy,
        /// Patch size (z, y, x).
        patch: [usize; 3],
    },
}

/// Errors of batches.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There is nothing to draw from.
    #[error(
        "no cases to draw {purpose} patches from: check the split (splits_final.json) and preprocess the dataset"
    )]
    NoCases {
        /// `training` or `validation`.
        purpose: &'static str,
    },
    /// A batch of no samples.
    #[error("batch size 0: expected at least 1; correct batch_size in the plans file")]
    EmptyBatch,
    /// A case could not be read.
    #[error("case {case}: {source}")]
    Case {
        /// Name of the case.
        case: String,
        /// What the reader says.
        source: SourceError,
    },
    /// A case does not fit the configuration.
    #[error("case {case}: {source}")]
    Augment {
        /// Name of the case.
        case: String,
        /// What does not fit.
        source: AugmentError,
    },
    /// A case has another number of channels than the case before it in the batch.
    #[error("case {case} has {found} channels but case {other} has {expected}: preprocess the dataset again")]
    Channels {
        /// Name of the case.
        case: String,
        /// Its channels, those of the previous stage included.
        found: usize,
        /// A case of the same batch.
        other: String,
        /// Its channels.
        expected: usize,
    },
    /// Sources disagree on the number of classes.
    #[error(
        "case {case} says for {found} classes whether they are annotated, another case of the batch for {expected}"
    )]
    Classes {
        /// Name of the case.
        case: String,
        /// Its number of classes.
        found: usize,
        /// That of another case of the batch.
        expected: usize,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
}

/// Draws batches from a set of cases.
pub struct BatchComposer {
    cases: Vec<Arc<dyn CaseSource>>,
    preparation: Preparation,
    sampler: PatchSampler,
    batch_size: usize,
    sampling: Arc<dyn Sampling>,
    seed: u64,
}

impl BatchComposer {
    /// Batches of `batch_size` patches of `cases`; `sampling` says which of them show foreground for certain.
    pub fn new(
        cases: Vec<Arc<dyn CaseSource>>,
        preparation: Preparation,
        batch_size: usize,
        sampling: Arc<dyn Sampling>,
        has_ignore: bool,
        seed: u64,
    ) -> Result<Self, BatchError> {
        let (crop, patch) = match &preparation {
            Preparation::Training(policy) => (policy.geometry.initial_patch, policy.geometry.patch),
            Preparation::Validation { patch, .. } => (*patch, *patch),
        };
        let sampler = PatchSampler { crop, patch, has_ignore };
        let composer = Self { cases, preparation, sampler, batch_size, sampling, seed };
        if composer.cases.is_empty() {
            let purpose = match composer.purpose() {
                Purpose::Training => "training",
                Purpose::Validation => "validation",
            };
            return Err(BatchError::NoCases { purpose });
        }
        if batch_size == 0 {
            return Err(BatchError::EmptyBatch);
        }
        Ok(composer)
    }

    fn purpose(&self) -> Purpose {
        match self.preparation {
            Preparation::Training(_) => Purpose::Training,
            Preparation::Validation { .. } => Purpose::Validation,
        }
    }

    /// The batch of one iteration. `stop` is asked between samples.
    pub fn compose(
        &self,
        epoch: u64,
        iteration: u64,
        scratch: &mut Scratch,
        stop: impl Fn() -> bool,
    ) -> Result<Batch, BatchError> {
        let mut samples = Vec::with_capacity(self.batch_size);
        for sample in 0..self.batch_size {
            if stop() {
                return Err(Interrupted.into());
            }
            samples.push(self.sample(epoch, iteration, sample, scratch)?);
        }
        stack(&samples)
    }

    fn sample(
        &self,
        epoch: u64,
        iteration: u64,
        sample: usize,
        scratch: &mut Scratch,
    ) -> Result<Drawn<'_>, BatchError> {
        let address = SampleAddress { purpose: self.purpose(), epoch, iteration, sample: sample as u64 };
        let mut rng = address.stream(self.seed);
        let case = &self.cases[rng.random_range(0..self.cases.len())];
        let name = case.identifier();
        let failed = |source| BatchError::Case { case: name.to_owned(), source };
        let content = self.sampling.content(sample, self.batch_size, &mut rng);
        let layout = case.layout().map_err(failed)?;
        let locations = case.foreground_locations().map_err(failed)?;
        let start = self.sampler.draw_start(layout.shape, content, &locations, &mut rng);
        let crop = case.read_patch(start, self.sampler.crop).map_err(failed)?;
        let made = match &self.preparation {
            Preparation::Training(policy) => {
                let absent = case.absent_channels().map_err(failed)?;
                policy.apply_without(crop, &absent, &mut rng, scratch)
            }
            Preparation::Validation { finish, .. } => finish.apply(crop),
        };
        let made = made.map_err(|source| BatchError::Augment { case: name.to_owned(), source })?;
        Ok(Drawn { case: &**case, start, sample: made })
    }
}

/// A sample with where it comes from.
struct Drawn<'a> {
    case: &'a dyn CaseSource,
    /// First voxel (z, y, x) of its crop.
    start: [isize; 3],
    sample: AugmentedSample,
}

/// Samples of one policy as one batch.
fn stack(samples: &[Drawn<'_>]) -> Result<Batch, BatchError> {
    let Some(Drawn { case: first_case, sample: first, .. }) = samples.first() else {
        return Err(BatchError::EmptyBatch);
    };
    let [z, y, x] = first.image.shape();
    let expected = first.image.channels();
    let mut image = Vec::with_capacity(samples.len() * expected * z * y * x);
    for Drawn { case, sample, .. } in samples {
        let found = sample.image.channels();
        if found != expected {
            let (case, other) = (case.identifier().to_owned(), first_case.identifier().to_owned());
            return Err(BatchError::Channels { case, found, other, expected });
        }
        image.extend_from_slice(sample.image.data());
    }
    let scales = (0..first.targets.len()).map(|k| stack_targets(samples, k)).collect();
    Ok(Batch {
        image: Tensor { shape: [samples.len(), expected, z, y, x], data: image },
        targets: Targets { validity: validity(samples)?, ..Targets::new(scales) },
        cases: samples.iter().map(|drawn| drawn.case.identifier().to_owned()).collect(),
        starts: samples.iter().map(|drawn| drawn.start).collect(),
    })
}

/// What counts of the targets; nothing is left out where every case has all annotations.
fn validity(samples: &[Drawn<'_>]) -> Result<Option<Validity>, BatchError> {
    let rows: Vec<Option<Vec<bool>>> = samples.iter().map(|drawn| drawn.case.annotated_classes()).collect();
    let Some(classes) = rows.iter().flatten().map(Vec::len).next() else { return Ok(None) };
    let mut data = Vec::with_capacity(rows.len() * classes);
    for (row, Drawn { case, .. }) in rows.into_iter().zip(samples) {
        let row = row.unwrap_or_else(|| vec![true; classes]);
        if row.len() != classes {
            let (case, found) = (case.identifier().to_owned(), row.len());
            return Err(BatchError::Classes { case, found, expected: classes });
        }
        data.extend(row);
    }
    Ok(Some(Validity { shape: [samples.len(), classes], data }))
}

/// The targets at scale `k`; all have the kind and shape of the first, as one policy made them.
fn stack_targets(samples: &[Drawn<'_>], k: usize) -> Target {
    let n = samples.len();
    let (mut labels, mut regions) = (Vec::new(), Vec::new());
    let mut shape = [n, 0, 0, 0, 0];
    for Drawn { sample, .. } in samples {
        let [z, y, x] = sample.targets[k].shape();
        match &sample.targets[k] {
            SampleTarget::Labels(volume) => {
                shape = [n, 0, z, y, x];
                labels.extend_from_slice(volume.data());
            }
            SampleTarget::Regions(volume) => {
                shape = [n, volume.channels(), z, y, x];
                regions.extend_from_slice(volume.data());
            }
        }
    }
    let [_, channels, z, y, x] = shape;
    if channels == 0 {
        Target::Labels(LabelBatch { shape: [n, z, y, x], data: labels })
    } else {
        Target::Regions(RegionBatch { shape, data: regions })
    }
}
