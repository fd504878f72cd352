//! Evaluation of a folder of predictions against a folder of reference segmentations, case by case in
//! parallel. The result does not depend on the number of threads.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_volume::Volume;

use super::EvaluateError;
use super::additions::{AddedMetrics, Additions};
use super::overlap::overlaps;
use super::summary::{CaseMetrics, Metrics, Summary};
use nnunet_base::Ctx;
use nnunet_base::one_case::named_case;
use nnunet_base::progress::{Event, Interrupted, Progress};
use nnunet_base::workers::Workers;
use nnunet_data::dataset::cases::files_with_ending;
use nnunet_data::dataset::reader::ImageReader;
use nnunet_data::dataset::{DatasetJson, LabelManager, LabelOrRegion};
use nnunet_pyformats::json::Json;

/// What to do about reference segmentations without a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Refuse to evaluate.
    Refused,
    /// Evaluate what is there (`--chill`).
    Tolerated,
}

/// An evaluation as `nnUNetv2_evaluate_folder` takes it.
#[derive(Debug, Clone)]
pub struct FolderEvaluation {
    /// Folder of reference segmentations.
    pub reference: PathBuf,
    /// Folder of predictions.
    pub prediction: PathBuf,
    /// Where to write the summary; `summary.json` beside the predictions if not given.
    pub output: Option<PathBuf>,
    /// What to do about missing predictions.
    pub missing: Missing,
    /// Metrics beyond the reference's.
    pub additions: Additions,
    /// Bytes that the cases worked on at once may need. If absent it is half of what is available, and a case that needs more
    /// than this process can have is an error before the start.
    pub max_ram: Option<u64>,
}

/// Evaluates the foreground labels or regions of a dataset and writes the summary.
///
/// # Errors
/// See [`EvaluateError`]; all cases that cannot be read or do not fit are named at once.
pub fn evaluate_folder(
    request: &FolderEvaluation,
    dataset_json: &Path,
    plans: &Path,
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    let json = DatasetJson::load(dataset_json)?;
    LabelManager::check_name(Json::load(plans)?.get("label_manager"), plans)?;
    let labels = LabelManager::new(&json)?;
    let references = files_with_ending(&request.reference, &json.file_ending)?;
    let reader = ImageReader::for_example(&json, references.first().map(PathBuf::as_path))?;
    let classes = labels.foreground();
    evaluate(request, &json.file_ending, reader, &classes, labels.ignore_label(), ctx)
}

/// Evaluates the given labels and writes the summary (`nnUNetv2_evaluate_simple`). The file ending is
/// that of the first reference segmentation.
///
/// # Errors
/// As [`evaluate_folder`].
pub fn evaluate_simple(
    request: &FolderEvaluation,
    labels: &[i32],
    ignore_label: Option<i32>,
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    let mut classes: Vec<LabelOrRegion> = Vec::new();
    for &label in labels {
        if !classes.contains(&LabelOrRegion::Label(label)) {
            classes.push(LabelOrRegion::Label(label));
        }
    }
    let all = files_with_ending(&request.reference, "")?;
    let first = all.first().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
    // `.nii.gz` has two dots; of other names the last part counts.
    let ending = [".nii.gz", ".nii"]
        .into_iter()
        .find(|e| first.ends_with(e))
        .map_or_else(|| first.rfind('.').map_or(String::new(), |dot| first[dot..].to_owned()), str::to_owned);
    if ending.is_empty() {
        return Err(EvaluateError::NoFiles {
            path: request.reference.clone(),
            file_ending: "a known ending".into(),
        });
    }
    let reader = ImageReader::from_file_ending(&ending, &all[0])?;
    evaluate(request, &ending, reader, &classes, ignore_label, ctx)
}

fn evaluate(
    request: &FolderEvaluation,
    file_ending: &str,
    reader: ImageReader,
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    let predictions = files_with_ending(&request.prediction, file_ending)?;
    let references = files_with_ending(&request.reference, file_ending)?;
    if request.missing == Missing::Refused {
        let absent: Vec<String> = references
            .iter()
            .filter_map(|path| path.file_name())
            .filter(|name| !request.prediction.join(name).is_file())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        if !absent.is_empty() {
            return Err(EvaluateError::MissingPredictions {
                path: request.prediction.clone(),
                count: absent.len(),
                total: references.len(),
                names: absent[..absent.len().min(10)].join(", "),
            });
        }
    }
    if predictions.is_empty() {
        let path = request.prediction.clone();
        return Err(EvaluateError::NoFiles { path, file_ending: file_ending.to_owned() });
    }
    let pairs: Vec<_> = predictions
        .into_iter()
        .map(|prediction| (request.reference.join(prediction.file_name().unwrap_or_default()), prediction))
        .collect();
    let additions = request.additions;
    let needs = needs(&pairs, reader, additions);
    let needs: Vec<(&str, u64)> = needs.iter().map(|(name, need)| (name.as_str(), *need)).collect();
    let workers = Workers::plan(&needs, None, request.max_ram, ctx.progress)?;
    let summary = evaluate_all(&pairs, reader, classes, ignore_label, additions, &|_| (), &workers, ctx)?;
    let output = request.output.clone().unwrap_or_else(|| request.prediction.join("summary.json"));
    summary.save(&output)?;
    Ok(summary)
}

/// Evaluates pairs of (reference, prediction) files; writes nothing.
///
/// # Errors
/// No pairs or classes; files that cannot be read or differ in shape, all of them named; interrupted.
pub fn evaluate_pairs(
    pairs: &[(PathBuf, PathBuf)],
    reader: ImageReader,
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    evaluate_changed(pairs, reader, classes, ignore_label, &|_| (), ctx)
}

/// Evaluates predictions as they would be after `change`, which gets each as it was read; writes nothing.
///
/// # Errors
/// As [`evaluate_pairs`].
pub fn evaluate_changed(
    pairs: &[(PathBuf, PathBuf)],
    reader: ImageReader,
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
    change: &(dyn Fn(&mut Volume<f32>) + Sync),
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    let needs = needs(pairs, reader, Additions::default());
    let needs: Vec<(&str, u64)> = needs.iter().map(|(name, need)| (name.as_str(), *need)).collect();
    let workers = Workers::within_available(&needs);
    evaluate_all(pairs, reader, classes, ignore_label, Additions::default(), change, &workers, ctx)
}

/// Name and bytes that each pair needs at most.
fn needs(pairs: &[(PathBuf, PathBuf)], reader: ImageReader, additions: Additions) -> Vec<(String, u64)> {
    // Both images, f32 each, and a decompressed file of 8 bytes per voxel. Surfaces: both masks and both surfaces (1 each),
    // the squared distances (8), and those that are kept.
    let bytes_per_voxel = 16 + if additions.surface { 20 } else { 0 };
    let need = |prediction: &Path| match reader.read_header(prediction) {
        Ok((_, shape, _)) => {
            shape.iter().fold(bytes_per_voxel, |all: u64, &edge| all.saturating_mul(edge as u64))
        }
        // A case that cannot be read needs nothing.
        Err(_) => 0,
    };
    pairs.iter().map(|(_, path)| (path.display().to_string(), need(path))).collect()
}

fn evaluate_all(
    pairs: &[(PathBuf, PathBuf)],
    reader: ImageReader,
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
    additions: Additions,
    change: &(dyn Fn(&mut Volume<f32>) + Sync),
    workers: &Workers,
    ctx: Ctx<'_>,
) -> Result<Summary, EvaluateError> {
    if classes.is_empty() {
        return Err(EvaluateError::NoClasses);
    }
    ctx.event(Event::Started { stage: "evaluate", total: pairs.len() as u64 });
    let done = AtomicU64::new(0);
    let results: Vec<OnceLock<Result<CaseMetrics, String>>> = pairs.iter().map(|_| OnceLock::new()).collect();
    let work = |number: usize| {
        let (reference, prediction) = &pairs[number];
        let result = named_case(prediction.display(), || {
            evaluate_case(
                reference,
                prediction,
                reader,
                classes,
                ignore_label,
                additions,
                change,
                ctx.progress,
            )
        });
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let name = prediction.file_name().unwrap_or_default().to_string_lossy();
        ctx.event(Event::Advanced { done, detail: &name });
        // Each number is worked on once.
        let _ = results[number].set(result);
    };
    workers.run(work, ctx.cancel);
    ctx.event(Event::Finished);
    let mut cases = Vec::new();
    let mut faults = Vec::new();
    for result in results {
        match result.into_inner().ok_or(Interrupted)? {
            Ok(case) => cases.push(case),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(Summary::new(cases)) } else { Err(EvaluateError::Cases(faults)) }
}

fn evaluate_case(
    reference: &Path,
    prediction: &Path,
    reader: ImageReader,
    classes: &[LabelOrRegion],
    ignore_label: Option<i32>,
    additions: Additions,
    change: &(dyn Fn(&mut Volume<f32>) + Sync),
    progress: &dyn Progress,
) -> Result<CaseMetrics, String> {
    let read = |path: &Path| {
        let read = reader.read(path).map_err(|error| error.to_string())?;
        for warning in read.voxel_warnings() {
            progress.event(Event::Warning(&format!("{}: {warning}", path.display())));
        }
        Ok::<_, String>(read)
    };
    let (mut seen, truth) = (read(prediction)?, read(reference)?);
    let how: Vec<String> =
        seen.displacements_from(&truth).iter().map(|displacement| displacement.to_string()).collect();
    change(&mut seen.volume);
    let (found, expected) = (seen.volume.shape(), truth.volume.shape());
    if found == expected && !how.is_empty() {
        progress.event(Event::Warning(&format!(
            "{}: {}, that of the reference segmentation {}; they are compared voxel by voxel all the same: check that \
             they overlap",
            prediction.display(),
            how.join(" and "),
            reference.display()
        )));
    }
    let counts = match overlaps(truth.volume.data(), seen.volume.data(), classes, ignore_label) {
        Some(counts) if found == expected => counts,
        _ => {
            return Err(format!(
                "{}: shape {found:?} (z, y, x), but the reference segmentation {} has {expected:?}",
                prediction.display(),
                reference.display()
            ));
        }
    };
    let metrics = classes.iter().zip(&counts).map(|(class, overlap)| {
        let added = AddedMetrics::of(additions, &truth, &seen, class, ignore_label, overlap);
        (class.clone(), Metrics { added, ..Metrics::from(*overlap) })
    });
    Ok(CaseMetrics {
        reference_file: reference.display().to_string(),
        prediction_file: prediction.display().to_string(),
        metrics: metrics.collect(),
    })
}
