//! The mean of one case's probabilities, and the segmentation it means.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_pyformats::pickle::Value;
use nnunet_pyformats::pickle::{read_pickle_file, write_pickle_file};
use nnunet_volume::{ChannelVolume, Volume};

use super::error::EnsembleError;
use crate::predict::write_probabilities;
use nnunet_base::Ctx;
use nnunet_base::one_case::named_case;
use nnunet_base::progress::{Event, Interrupted};
use nnunet_base::workers::Workers;
use nnunet_data::preprocess::Properties;
use nnunet_dataset::{ImageGeometry, ImageReader, LabelManager};
use nnunet_pyformats::npz::{Npz, Probabilities};

/// Values that are averaged at a time.
const SPAN: usize = 1 << 16;

/// One case: the probabilities of its members, in the order in which they are summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeJob {
    /// The case.
    pub identifier: String,
    /// One `.npz` file per member; the `.pkl` beside the first has the geometry.
    pub probabilities: Vec<PathBuf>,
}

/// Merges cases of one dataset.
#[derive(Debug, Clone, Copy)]
pub struct Merger<'a> {
    /// What the channels of the probabilities mean.
    pub labels: &'a LabelManager,
    /// Writes the segmentations.
    pub reader: &'a ImageReader,
    /// Ending of the segmentations.
    pub file_ending: &'a str,
    /// Where the segmentations go.
    pub output: &'a Path,
    /// Whether to write the mean probabilities (`.npz`, `.pkl`) too.
    pub save_probabilities: bool,
}

impl Merger<'_> {
    /// Name of each case, and bytes that it needs at most.
    pub fn needs<'b>(&self, jobs: &'b [MergeJob]) -> Vec<(&'b str, u64)> {
        jobs.iter().map(|job| (job.identifier.as_str(), self.need(job))).collect()
    }

    fn need(&self, job: &MergeJob) -> u64 {
        let shape_of = |path: &PathBuf| Some(Npz::open(path).ok()?.probabilities(path).ok()?.shape);
        // A case that cannot be read needs nothing.
        let Some(shape) = job.probabilities.first().and_then(shape_of) else { return 0 };
        let voxels = shape.iter().fold(1u64, |all, &edge| all.saturating_mul(edge as u64));
        // The labels (2), as they are written (2), and the largest probability (4); the means (4 for each class).
        let kept = if self.save_probabilities { 4 * self.labels.num_segmentation_heads() as u64 } else { 0 };
        voxels.saturating_mul(8 + kept)
    }

    /// Merges all cases, several at a time: `workers` were planned for what they [need](Self::needs).
    ///
    /// # Errors
    /// Cases that cannot be read or written (all are named, the others are done); interrupted.
    pub fn merge_all(&self, jobs: &[MergeJob], workers: &Workers, ctx: Ctx<'_>) -> Result<(), EnsembleError> {
        ctx.event(Event::Started { stage: "ensemble", total: jobs.len() as u64 });
        let done = AtomicU64::new(0);
        let results: Vec<OnceLock<Result<(), String>>> = jobs.iter().map(|_| OnceLock::new()).collect();
        let work = |number: usize| {
            let job = &jobs[number];
            let result = named_case(&job.identifier, || self.merge(job));
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ctx.event(Event::Advanced { done, detail: &job.identifier });
            // Each number is worked on once.
            let _ = results[number].set(result);
        };
        workers.run(work, ctx.cancel);
        ctx.event(Event::Finished);
        let mut faults = Vec::new();
        for result in results {
            faults.extend(result.into_inner().ok_or(Interrupted)?.err());
        }
        if faults.is_empty() { Ok(()) } else { Err(EnsembleError::Cases { faults, total: jobs.len() }) }
    }

    /// Merges one case; the error is a line that names a file.
    fn merge(&self, job: &MergeJob) -> Result<(), String> {
        let Some(first) = job.probabilities.first() else { return Ok(()) };
        let companion = Companion::read(&first.with_extension("pkl"))?;
        let mut files =
            job.probabilities.iter().map(|path| Npz::open(path)).collect::<Result<Vec<_>, _>>()?;
        let mut members = files
            .iter_mut()
            .zip(&job.probabilities)
            .map(|(file, path)| file.probabilities(path))
            .collect::<Result<Vec<_>, _>>()?;
        let (channels, shape) = self.check(job, &members)?;
        companion.check_shape(shape, first)?;
        let mut decision = Decision::new(self.labels, shape);
        let mut kept = self.save_probabilities.then(|| ChannelVolume::filled(channels, shape, 0.0f32));
        let voxels: usize = shape.iter().product();
        let (mut sum, mut next) = (vec![0.0f32; SPAN.min(voxels)], vec![0.0f32; SPAN.min(voxels)]);
        let count = members.len() as f32;
        for channel in 0..channels {
            for start in (0..voxels).step_by(SPAN) {
                let len = SPAN.min(voxels - start);
                let (sum, next) = (&mut sum[..len], &mut next[..len]);
                sum.fill(0.0);
                for (i, member) in members.iter_mut().enumerate() {
                    if i == 0 {
                        member.read(sum)?;
                    } else {
                        member.read(next)?;
                        sum.iter_mut().zip(&*next).for_each(|(sum, value)| *sum += value);
                    }
                }
                sum.iter_mut().for_each(|sum| *sum /= count);
                decision.add(channel, start, sum);
                if let Some(kept) = &mut kept {
                    kept.channel_mut(channel)[start..start + len].copy_from_slice(sum);
                }
            }
        }
        self.write(&job.identifier, &decision.labels, kept.as_ref(), &companion)
    }

    /// Number of channels and shape (z, y, x) that all members have.
    fn check(&self, job: &MergeJob, members: &[Probabilities<'_>]) -> Result<(usize, [usize; 3]), String> {
        let expected = self.labels.num_segmentation_heads();
        let shape = members[0].shape;
        for (member, path) in members.iter().zip(&job.probabilities) {
            if member.channels != expected {
                return Err(format!(
                    "{}: probabilities of {} classes, the labels of dataset.json need {expected}",
                    path.display(),
                    member.channels
                ));
            }
            if member.shape != shape {
                return Err(format!(
                    "{}: shape {:?} (z, y, x), but {} has {shape:?}; all members of an ensemble must be \
                     predictions of the same images",
                    path.display(),
                    member.shape,
                    job.probabilities[0].display()
                ));
            }
        }
        Ok((expected, shape))
    }

    /// The segmentation comes last: where it is, the case is complete.
    fn write(
        &self,
        case: &str,
        segmentation: &Volume<u16>,
        probabilities: Option<&ChannelVolume<f32>>,
        companion: &Companion,
    ) -> Result<(), String> {
        if let Some(probabilities) = probabilities {
            let path = self.output.join(format!("{case}.npz"));
            write_probabilities(&path, probabilities)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            write_pickle_file(&self.output.join(format!("{case}.pkl")), &companion.content)
                .map_err(|error| error.to_string())?;
        }
        let path = self.output.join(format!("{case}{}", self.file_ending));
        self.reader.write_labels(&path, segmentation, &companion.geometry).map_err(|error| error.to_string())
    }
}

/// The segmentation, decided while channel after channel comes in.
struct Decision<'a> {
    /// Label to write for each region; `None` where labels exclude each other.
    regions: Option<&'a [i32]>,
    labels: Volume<u16>,
    /// Largest probability so far of every voxel; not used for regions.
    best: Vec<f32>,
}

impl<'a> Decision<'a> {
    fn new(labels: &'a LabelManager, shape: [usize; 3]) -> Self {
        let regions = labels.has_regions().then(|| labels.regions_class_order());
        let best = if regions.is_some() { 0 } else { shape.iter().product() };
        Self { regions, labels: Volume::filled(shape, 0), best: vec![f32::NEG_INFINITY; best] }
    }

    /// Takes the probabilities of `channel` for the voxels from `start` on.
    fn add(&mut self, channel: usize, start: usize, probabilities: &[f32]) {
        let span = start..start + probabilities.len();
        let labels = &mut self.labels.data_mut()[span.clone()];
        match self.regions {
            // Later regions overwrite earlier ones.
            Some(order) => {
                let label = order.get(channel).map_or(0, |&label| label as u16);
                for (out, _) in labels.iter_mut().zip(probabilities).filter(|(_, p)| **p > 0.5) {
                    *out = label;
                }
            }
            // The index of a channel is its label: labels are consecutive from the background on.
            None => {
                for ((out, best), &p) in labels.iter_mut().zip(&mut self.best[span]).zip(probabilities) {
                    if p > *best {
                        *best = p;
                        *out = channel as u16;
                    }
                }
            }
        }
    }
}

/// The `.pkl` beside probabilities: properties, of which only the geometry has to be there.
struct Companion {
    path: PathBuf,
    content: Value,
    geometry: ImageGeometry,
}

impl Companion {
    fn read(path: &Path) -> Result<Self, String> {
        let from = "predictions with probabilities have it beside them";
        let content = read_pickle_file(path).map_err(|error| format!("{error} ({from})"))?;
        let geometry = Properties::geometry_in(&content)
            .map_err(|(key, problem)| format!("{}: {key} {problem} ({from})", path.display()))?;
        Ok(Self { path: path.to_owned(), content, geometry })
    }

    /// The axes of the image may be in another order there.
    fn check_shape(&self, shape: [usize; 3], probabilities: &Path) -> Result<(), String> {
        let image = self.content.get("shape_before_cropping").and_then(Value::as_usizes);
        let sorted = |mut shape: Vec<usize>| {
            shape.sort_unstable();
            shape
        };
        match image {
            Some(image) if sorted(image.clone()) != sorted(shape.to_vec()) => Err(format!(
                "{}: shape {shape:?}, but {} is of an image of {image:?} voxels",
                probabilities.display(),
                self.path.display()
            )),
            _ => Ok(()),
        }
    }
}
