//! Saved probabilities of a prediction, one class at a time.

use std::path::Path;

use nnunet_dataset::{LabelOrRegion, ReadImage};
use nnunet_pyformats::npz::Npz;

/// Predicted probability of a class and whether the reference has it, voxel by voxel in C order, without the voxels
/// whose reference is the ignore label.
#[derive(Debug)]
pub struct ClassProbabilities {
    /// From 0 to 1.
    pub predicted: Vec<f32>,
    /// Whether the reference has the class.
    pub present: Vec<bool>,
}

/// Values that are read at a time.
const SPAN: usize = 1 << 16;

/// The probabilities of class `number` of `classes`, from the `.npz` file beside `prediction`.
///
/// Channels of the file: one for each of `classes` (regions, whose probabilities are independent), or one for each
/// label from background on.
pub(super) fn of_class(
    prediction: &Path,
    reference: &ReadImage,
    classes: &[LabelOrRegion],
    number: usize,
    ignore_label: Option<i32>,
) -> Result<ClassProbabilities, String> {
    let path = beside(prediction);
    let mut archive = Npz::open(&path)?;
    let mut read = archive.probabilities(&path)?;
    let (found, expected) = (read.shape, reference.volume.shape());
    if found != expected {
        return Err(format!(
            "{}: shape {found:?} (z, y, x), but the reference segmentation has {expected:?}; predict the case again",
            path.display()
        ));
    }
    let regions = classes.iter().any(|class| matches!(class, LabelOrRegion::Region(_)));
    let channels: Vec<usize> = match &classes[number] {
        _ if regions => vec![number],
        class => class.values().iter().filter_map(|&label| usize::try_from(label).ok()).collect(),
    };
    if let Some(missing) = channels.iter().find(|&&channel| channel >= read.channels) {
        return Err(format!(
            "{}: {} channels, but class {} is channel {missing}; evaluate the classes that the model predicts",
            path.display(),
            read.channels,
            classes[number].key()
        ));
    }
    let truth = reference.volume.data();
    let mut predicted = vec![0f32; truth.len()];
    let mut values = vec![0f32; SPAN];
    let last = channels.iter().copied().max().unwrap_or(0);
    for channel in 0..=last {
        for part in predicted.chunks_mut(SPAN) {
            let values = &mut values[..part.len()];
            read.read(values)?;
            if channels.contains(&channel) {
                part.iter_mut().zip(&*values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    let ignore = ignore_label.map(|label| label as f32);
    let labels: Vec<f32> = classes[number].values().iter().map(|&label| label as f32).collect();
    if let Some(ignore) = ignore {
        let mut counted = truth.iter().map(|&truth| truth != ignore);
        predicted.retain(|_| counted.next().unwrap_or(false));
    }
    let counted = truth.iter().filter(|truth| Some(**truth) != ignore);
    let present = counted.map(|truth| labels.contains(truth)).collect();
    Ok(ClassProbabilities { predicted, present })
}

/// `CASE.npz` beside `CASE.nii.gz`.
fn beside(prediction: &Path) -> std::path::PathBuf {
    let name = prediction.file_name().unwrap_or_default().to_string_lossy();
    let stem =
        name.strip_suffix(".nii.gz").or_else(|| name.rsplit_once('.').map(|(stem, _)| stem)).unwrap_or(&name);
    prediction.with_file_name(format!("{stem}.npz"))
}
