//! Logits and target of one output on the device.

use std::sync::Arc;

use nnunet_graph::backend::StepError;
use nnunet_graph::loss::{Compared, Ignored, LabelBatch, LossError, OverlapCounts, RegionBatch, Target};

use crate::error::during;
use crate::interface::{Dtype, Tensor, TorchError};
use crate::runtime::Runtime;

/// Logits with the target they are compared with. Tensors are f32 of shape (n, c, spatial axes).
pub(crate) struct Field {
    pub(crate) runtime: Arc<Runtime>,
    /// Probability of each channel.
    pub(crate) probabilities: Tensor,
    /// Logarithm of each channel's probability.
    pub(crate) logarithms: Tensor,
    /// Logarithm of one minus each channel's probability; of regions only.
    pub(crate) complements: Option<Tensor>,
    /// 1 where the channel's class or region is, else 0; 0 where a voxel does not count.
    pub(crate) targets: Tensor,
    /// 1 where a voxel counts, else 0, with one channel; `None` where all count.
    pub(crate) counts: Option<Tensor>,
    /// Voxels of all samples that count.
    pub(crate) counted: usize,
    /// Voxels of all samples.
    pub(crate) voxels: usize,
    pub(crate) samples: usize,
    pub(crate) channels: usize,
    /// Whether a part of the image may not count.
    pub(crate) has_ignore: bool,
}

/// Derivatives of a loss, to which each term adds its own.
#[derive(Default)]
pub(crate) struct FieldGradient {
    /// By each channel's probability.
    by_probability: Option<Tensor>,
    /// By each channel's logit, beside what follows from `by_probability`.
    by_logit: Option<Tensor>,
}

impl FieldGradient {
    pub(crate) fn add_by_probability(&mut self, gradient: Tensor) -> Result<(), TorchError> {
        add(&mut self.by_probability, gradient)
    }

    pub(crate) fn add_by_logit(&mut self, gradient: Tensor) -> Result<(), TorchError> {
        add(&mut self.by_logit, gradient)
    }
}

fn add(slot: &mut Option<Tensor>, gradient: Tensor) -> Result<(), TorchError> {
    *slot = Some(match slot.take() {
        None => gradient,
        Some(there) => there.plus(&gradient, 1.0)?,
    });
    Ok(())
}

/// A target on the device.
struct Uploaded {
    targets: Tensor,
    counts: Option<Tensor>,
    counted: usize,
}

impl Field {
    /// `logits` (n, c, spatial axes) in f32 against `target`.
    ///
    /// # Errors
    /// A target of another kind or shape; a label without an output.
    pub(crate) fn new(
        runtime: &Arc<Runtime>,
        compared: Compared,
        logits: &Tensor,
        target: &Target,
    ) -> Result<Self, StepError> {
        let shape = logits.shape();
        let (samples, channels) = (shape[0] as usize, shape[1] as usize);
        let uploading = during("target");
        let (uploaded, has_ignore) = match (compared, target) {
            (Compared::Labels { ignore_label }, Target::Labels(labels)) => {
                let counted = check_labels(labels, &shape, ignore_label)?;
                (of_labels(runtime, labels, &shape, ignore_label, counted), ignore_label.is_some())
            }
            (Compared::Regions { has_ignore }, Target::Regions(regions)) => {
                check_regions(regions, &shape, has_ignore)?;
                (of_regions(runtime, regions, &shape, has_ignore), has_ignore)
            }
            (Compared::Labels { .. }, other) => {
                return Err(LossError::Kind { expected: "labels", found: other.kind() }.into());
            }
            (Compared::Regions { .. }, other) => {
                return Err(LossError::Kind { expected: "regions", found: other.kind() }.into());
            }
        };
        let Uploaded { targets, counts, counted } = uploaded.map_err(uploading)?;
        let (probabilities, logarithms, complements) = match compared {
            Compared::Labels { .. } => softmax(logits),
            Compared::Regions { .. } => sigmoids(logits),
        }
        .map_err(during("loss"))?;
        Ok(Self {
            runtime: Arc::clone(runtime),
            probabilities,
            logarithms,
            complements,
            targets,
            counts,
            counted,
            voxels: samples * shape[2..].iter().product::<i64>() as usize,
            samples,
            channels,
            has_ignore,
        })
    }

    /// Whether targets are regions.
    pub(crate) fn of_regions(&self) -> bool {
        self.complements.is_some()
    }

    /// The first channel that is no background, or 0 where `background` takes part.
    pub(crate) fn first_class(&self, background: bool) -> usize {
        usize::from(!background && !self.of_regions())
    }

    /// `values` where voxels count, 0 elsewhere.
    pub(crate) fn where_counted(&self, values: &Tensor) -> Result<Tensor, TorchError> {
        match &self.counts {
            None => values.share(),
            Some(counts) => values.times(counts),
        }
    }

    /// Sums over the voxels: (n, c).
    pub(crate) fn sums(&self, values: &Tensor) -> Result<Tensor, TorchError> {
        self.runtime.sums(values)
    }

    /// One number for each sample and channel, or for each channel, to be multiplied with maps.
    pub(crate) fn coefficients(&self, numbers: &[f64]) -> Result<Tensor, TorchError> {
        let numbers: Vec<f32> = numbers.iter().map(|&number| number as f32).collect();
        let mut shape = vec![1; self.probabilities.shape().len()];
        shape[0] = (numbers.len() / self.channels.max(1)) as i64;
        shape[1] = self.channels as i64;
        self.runtime.upload(&numbers, &shape)
    }

    /// The gradient by the logits.
    pub(crate) fn by_logits(&self, runtime: &Runtime, gradient: FieldGradient) -> Result<Tensor, TorchError> {
        let p = &self.probabilities;
        let FieldGradient { by_probability, mut by_logit } = gradient;
        if let Some(by_probability) = by_probability {
            let through = match self.of_regions() {
                false => by_probability.softmax_backward(p, 1)?,
                // p (1 - p)
                true => by_probability.times(&p.plus(&p.times(p)?, -1.0)?)?,
            };
            add(&mut by_logit, through)?;
        }
        match by_logit {
            Some(gradient) => self.where_counted(&gradient),
            None => runtime.full(&p.shape(), 0.0, Dtype::F32),
        }
    }
}

/// Probabilities and their logarithms.
type Probabilities = (Tensor, Tensor, Option<Tensor>);

fn softmax(logits: &Tensor) -> Result<Probabilities, TorchError> {
    let logarithms = logits.log_softmax(1)?;
    Ok((logarithms.exp()?, logarithms, None))
}

fn sigmoids(logits: &Tensor) -> Result<Probabilities, TorchError> {
    Ok((logits.sigmoid()?, logits.log_sigmoid()?, Some(logits.neg()?.log_sigmoid()?)))
}

/// The five axes of a shape on the device, for messages.
fn shown(shape: &[i64]) -> [usize; 5] {
    match *shape {
        [n, c, y, x] => [n as usize, c as usize, 1, y as usize, x as usize],
        [n, c, z, y, x] => [n, c, z, y, x].map(|n| n as usize),
        _ => [0; 5],
    }
}

/// The number of voxels that count.
fn check_labels(labels: &LabelBatch, shape: &[i64], ignore_label: Option<i16>) -> Result<usize, LossError> {
    let [n, classes, z, y, x] = shown(shape);
    if labels.shape != [n, z, y, x] {
        return Err(LossError::Shape { logits: shown(shape), target: labels.shape.to_vec() });
    }
    let limit = i16::try_from(classes).unwrap_or(i16::MAX);
    let stray = |label: i16| label < 0 || label >= limit;
    // One sweep without a choice in it; a second one only where there is something to find.
    if labels.data.iter().fold(false, |any, &label| any | stray(label)) {
        if let Some(&label) = labels.data.iter().find(|&&label| stray(label) && Some(label) != ignore_label) {
            return Err(LossError::Label { label, last: classes.saturating_sub(1) });
        }
    }
    let ignored =
        ignore_label.map_or(0, |ignore| labels.data.iter().filter(|&&label| label == ignore).count());
    Ok(labels.data.len() - ignored)
}

fn check_regions(regions: &RegionBatch, shape: &[i64], has_ignore: bool) -> Result<(), LossError> {
    let [n, c, z, y, x] = shown(shape);
    match regions.shape == [n, c + usize::from(has_ignore), z, y, x] {
        true => Ok(()),
        false => Err(LossError::Shape { logits: shown(shape), target: regions.shape.to_vec() }),
    }
}

/// The shape of one channel beside maps of `shape`.
fn one_channel(shape: &[i64]) -> Vec<i64> {
    let mut one = shape.to_vec();
    one[1] = 1;
    one
}

/// Labels on the device as numbers, those that do not count as `instead`.
fn upload_labels(
    runtime: &Runtime,
    labels: &LabelBatch,
    shape: &[i64],
    ignore_label: Option<i16>,
    instead: i16,
) -> Result<Tensor, TorchError> {
    let one = one_channel(shape);
    let uploaded = match ignore_label {
        Some(ignore) => {
            let replaced: Vec<i16> =
                labels.data.iter().map(|&label| if label == ignore { instead } else { label }).collect();
            runtime.upload(&replaced, &one)?
        }
        None => runtime.upload(&labels.data, &one)?,
    };
    uploaded.to(Dtype::F32)
}

fn of_labels(
    runtime: &Runtime,
    labels: &LabelBatch,
    shape: &[i64],
    ignore_label: Option<i16>,
    counted: usize,
) -> Result<Uploaded, TorchError> {
    let ignore_label = ignore_label.filter(|_| counted < labels.data.len());
    let numbers = upload_labels(runtime, labels, shape, ignore_label, -1)?;
    let mut channels = vec![1; shape.len()];
    channels[1] = shape[1];
    let classes: Vec<f32> = (0..shape[1]).map(|class| class as f32).collect();
    let targets = numbers.equals(&runtime.upload(&classes, &channels)?)?.to(Dtype::F32)?;
    let counts = match ignore_label {
        None => None,
        Some(_) => {
            let ignored = numbers.equals(&runtime.full(&vec![1; shape.len()], -1.0, Dtype::F32)?)?;
            Some(ignored.not()?.to(Dtype::F32)?)
        }
    };
    Ok(Uploaded { targets, counts, counted })
}

fn of_regions(
    runtime: &Runtime,
    regions: &RegionBatch,
    shape: &[i64],
    has_ignore: bool,
) -> Result<Uploaded, TorchError> {
    let (samples, channels) = (shape[0] as usize, shape[1] as usize);
    let voxels = regions.shape[2..].iter().product::<usize>();
    if !has_ignore {
        let targets = runtime.upload(&regions.data, shape)?.to(Dtype::F32)?;
        return Ok(Uploaded { targets, counts: None, counted: samples * voxels });
    }
    let (mut members, mut counts) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        let ignored = regions.channel(sample, channels);
        for channel in 0..channels {
            let region = regions.channel(sample, channel).iter().zip(ignored);
            members.extend(region.map(|(member, ignored)| *member && !ignored));
        }
        counts.extend(ignored.iter().map(|ignored| !ignored));
    }
    let counted = counts.iter().filter(|counts| **counts).count();
    Ok(Uploaded {
        targets: runtime.upload(&members, shape)?.to(Dtype::F32)?,
        counts: Some(runtime.upload(&counts, &one_channel(shape))?.to(Dtype::F32)?),
        counted,
    })
}

/// Number of classes or regions of the pseudo-Dice.
pub(super) fn counted_classes(logits: &Tensor, target: &Target) -> usize {
    let channels = logits.shape()[1] as usize;
    match target {
        Target::Labels(_) => channels.saturating_sub(1),
        Target::Regions(_) => channels,
    }
}

/// Counts of each foreground class or region.
pub(super) fn count_overlap(
    runtime: &Arc<Runtime>,
    logits: &Tensor,
    target: &Target,
    ignored: Ignored,
) -> Result<Vec<OverlapCounts>, StepError> {
    let shape = logits.shape();
    let counting = during("counts");
    match target {
        Target::Labels(labels) => {
            let ignore_label = if let Ignored::Label(label) = ignored { Some(label) } else { None };
            check_labels(labels, &shape, ignore_label)?;
            let confusion = confusion(runtime, logits, labels, ignore_label).map_err(counting)?;
            Ok(of_confusion(&confusion, shape[1] as usize))
        }
        Target::Regions(regions) => {
            let has_ignore = ignored == Ignored::LastRegion;
            check_regions(regions, &shape, has_ignore)?;
            count_regions(runtime, logits, regions, has_ignore).map_err(&counting).map_err(StepError::from)
        }
    }
}

/// Voxels by (label, prediction), row by row; behind them those that do not count.
fn confusion(
    runtime: &Runtime,
    logits: &Tensor,
    labels: &LabelBatch,
    ignore_label: Option<i16>,
) -> Result<Vec<i64>, TorchError> {
    let shape = logits.shape();
    let classes = shape[1];
    // Pairs are numbered in f32, which is exact up to 2^24.
    let rows = upload_labels(runtime, labels, &shape, ignore_label, classes as i16)?;
    let pairs = rows.scaled(classes as f64)?.plus(&logits.largest_channel()?.to(Dtype::F32)?, 1.0)?;
    pairs.reshape(&[-1])?.to(Dtype::I64)?.occurrences((classes + 1) * classes)?.download()
}

fn of_confusion(confusion: &[i64], classes: usize) -> Vec<OverlapCounts> {
    let at = |label: usize, predicted: usize| {
        confusion.get(label * classes + predicted).copied().unwrap_or(0) as u64
    };
    (1..classes)
        .map(|class| {
            let others = || (0..classes).filter(move |other| *other != class);
            OverlapCounts {
                true_positives: at(class, class),
                false_positives: others().map(|label| at(label, class)).sum(),
                false_negatives: others().map(|predicted| at(class, predicted)).sum(),
            }
        })
        .collect()
}

fn count_regions(
    runtime: &Runtime,
    logits: &Tensor,
    regions: &RegionBatch,
    has_ignore: bool,
) -> Result<Vec<OverlapCounts>, TorchError> {
    let shape = logits.shape();
    let Uploaded { targets, counts, .. } = of_regions(runtime, regions, &shape, has_ignore)?;
    let zero = runtime.full(&vec![1; shape.len()], 0.0, Dtype::F32)?;
    let mut predicted = logits.exceeds(&zero)?.to(Dtype::F32)?;
    if let Some(counts) = counts {
        predicted = predicted.times(&counts)?;
    }
    let both = predicted.times(&targets)?;
    let sums = [runtime.sums(&both)?, runtime.sums(&predicted)?, runtime.sums(&targets)?];
    let numbers = runtime.download_all(&sums.iter().collect::<Vec<_>>())?;
    let (samples, channels) = (shape[0] as usize, shape[1] as usize);
    let total = |sum: usize, channel: usize| -> u64 {
        (0..samples).map(|n| numbers[(sum * samples + n) * channels + channel] as u64).sum()
    };
    let of = |channel: usize| {
        let both = total(0, channel);
        OverlapCounts {
            true_positives: both,
            false_positives: total(1, channel) - both,
            false_negatives: total(2, channel) - both,
        }
    };
    Ok((0..channels).map(of).collect())
}
