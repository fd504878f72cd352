//! Samples that were not annotated: they take part in no loss and in no count.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, LossError, RegionBatch, Target, Targets, Validity};

/// What was annotated of each sample, `None` where nothing is said of it.
///
/// # Errors
/// A mask of another number of samples or classes.
pub(crate) fn annotated_rows(
    targets: &Targets,
    samples: usize,
    classes: usize,
) -> Result<Option<Vec<&[bool]>>, LossError> {
    let Some(validity) = checked(targets, samples)? else { return Ok(None) };
    if validity.shape[1] != classes {
        let found = format!("a mask of {} classes for {classes} outputs of the network", validity.shape[1]);
        return Err(LossError::Validity { sample: 0, found });
    }
    Ok(Some((0..samples).map(|sample| validity.sample(sample)).collect()))
}

fn checked(targets: &Targets, samples: usize) -> Result<Option<&Validity>, LossError> {
    let Some(validity) = &targets.validity else { return Ok(None) };
    let Validity { shape: [n, classes], data } = validity;
    if *n != samples || data.len() != n * classes {
        return Err(LossError::Validity {
            sample: 0,
            found: format!("a mask of {n} x {classes} for {samples} samples"),
        });
    }
    Ok(Some(validity))
}

/// The samples that count, `None` where all do.
///
/// # Errors
/// A mask of another number of samples, or one that leaves out a part of a sample's classes.
pub fn valid_samples(targets: &Targets, samples: usize) -> Result<Option<Vec<usize>>, LossError> {
    let Some(validity) = checked(targets, samples)? else { return Ok(None) };
    let classes = validity.shape[1];
    let mut valid = Vec::with_capacity(samples);
    for sample in 0..samples {
        let row = validity.sample(sample);
        match row.iter().filter(|annotated| **annotated).count() {
            0 => {}
            count if count == row.len() => valid.push(sample),
            count => {
                return Err(LossError::Validity {
                    sample,
                    found: format!("{count} of {classes} classes annotated"),
                });
            }
        }
    }
    Ok((valid.len() < samples).then_some(valid))
}

/// These samples of a tensor.
pub fn select(tensor: &Tensor, samples: &[usize]) -> Tensor {
    let [n, c, z, y, x] = tensor.shape;
    let data = chosen(&tensor.data, n, samples);
    Tensor { shape: [samples.len(), c, z, y, x], data }
}

/// These samples of a target.
pub fn select_target(target: &Target, samples: &[usize]) -> Target {
    match target {
        Target::Labels(LabelBatch { shape: [n, z, y, x], data }) => {
            Target::Labels(LabelBatch { shape: [samples.len(), *z, *y, *x], data: chosen(data, *n, samples) })
        }
        Target::Regions(RegionBatch { shape: [n, c, z, y, x], data }) => Target::Regions(RegionBatch {
            shape: [samples.len(), *c, *z, *y, *x],
            data: chosen(data, *n, samples),
        }),
    }
}

/// The gradient of all samples from that of these; 0 for the others.
pub fn spread(gradient: &Tensor, shape: [usize; 5], samples: &[usize]) -> Tensor {
    let mut data = vec![0.0; shape.iter().product()];
    let each = data.len() / shape[0].max(1);
    for (at, sample) in samples.iter().enumerate() {
        data[sample * each..(sample + 1) * each].copy_from_slice(&gradient.data[at * each..(at + 1) * each]);
    }
    Tensor { shape, data }
}

fn chosen<T: Copy>(data: &[T], n: usize, samples: &[usize]) -> Vec<T> {
    let each = data.len() / n.max(1);
    samples.iter().flat_map(|sample| data[sample * each..(sample + 1) * each].iter().copied()).collect()
}
