//! Predicting many cases: reading and preprocessing, the network and the export overlap.
//!
//! ```text
//! reader threads -> bounded queue -> network (this thread) -> bounded queue -> export threads
//! ```
//! A case that fails does not stop the others; all failures are reported at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use half::f16;
use nnunet_volume::ChannelVolume;

use super::cascade::CaseReader;
use super::error::PredictError;
use super::model_folder::Model;
use super::predictor::Predictor;
use super::probabilities::write_probabilities;
use crate::dataset::{Case, ImageReader};
use crate::json::{Json, KeyOrder};
use crate::preprocess::{PreprocessedCase, Properties};
use crate::progress::{Cancel, Event, Progress};

/// What to predict and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictRequest {
    /// Where the cases come from, for `predict_from_raw_data_args.json`: a folder or file, or the files of
    /// one case.
    pub sources: Vec<PathBuf>,
    /// Folder of the predictions.
    pub output: PathBuf,
    /// In a cascade, the folder with the previous stage's segmentations, `CASE<file ending>`.
    pub previous_stage: Option<PathBuf>,
    /// Whether to write probabilities (`.npz`) and properties (`.pkl`) too.
    pub save_probabilities: bool,
    /// Whether complete predictions are made again.
    pub overwrite: bool,
    /// Into how many parts the cases are divided, for several machines.
    pub num_parts: usize,
    /// Which part this is, from 0.
    pub part_id: usize,
    /// Cases read and preprocessed at once.
    pub preprocessing_threads: usize,
    /// Cases exported at once.
    pub export_threads: usize,
}

impl PredictRequest {
    /// Everything from `source` into the folder `output`, one case after the other, replacing what is there.
    pub fn new(source: &Path, output: &Path) -> Self {
        Self {
            sources: vec![source.to_owned()],
            output: output.to_owned(),
            previous_stage: None,
            save_probabilities: false,
            overwrite: true,
            num_parts: 1,
            part_id: 0,
            preprocessing_threads: 1,
            export_threads: 1,
        }
    }
}

/// How many cases were predicted and how many were there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Predicted {
    /// Predicted now.
    pub made: usize,
    /// Complete before.
    pub kept: usize,
}

/// Predicts this part of `cases` into the output folder.
///
/// # Errors
/// When the output cannot be written; when cases failed (all are named, the others are done); when
/// `cancel` is raised.
pub fn predict_cases(
    predictor: &mut Predictor,
    cases: &[Case],
    request: &PredictRequest,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Predicted, PredictError> {
    let model = predictor.model().clone();
    let reader = CaseReader::new(&model, request.previous_stage.as_deref())?;
    write_companions(&model, request)?;
    let part = cases.iter().skip(request.part_id).step_by(request.num_parts.max(1));
    let (kept, missing): (Vec<&Case>, Vec<&Case>) =
        part.partition(|case| !request.overwrite && is_complete(&model, request, &case.identifier));
    reader.check(&missing)?;
    let faults = Mutex::new(Vec::new());
    let fault = |case: &str, error: &dyn std::fmt::Display| {
        let line = format!("case {case}: {error}");
        faults.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    };
    let made = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (prepared_out, prepared): (Sender<(&Case, PreprocessedCase)>, _) = bounded(1);
        let (exports, export_in): (Sender<Export<'_>>, Receiver<Export<'_>>) = bounded(1);
        for _ in 0..request.preprocessing_threads.clamp(1, missing.len().max(1)) {
            let (out, missing, next, reader, fault) =
                (prepared_out.clone(), &missing, &next, &reader, &fault);
            scope.spawn(move || {
                while let Some(case) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if cancel.is_cancelled() {
                        return;
                    }
                    match reader.read(case, progress) {
                        // Nobody listens any more when the run ends early.
                        Ok(prepared) => {
                            if out.send((case, prepared)).is_err() {
                                return;
                            }
                        }
                        Err(error) => fault(&case.identifier, &error),
                    }
                }
            });
        }
        drop(prepared_out);
        for _ in 0..request.export_threads.clamp(1, missing.len().max(1)) {
            let (inbox, model, made, fault) = (export_in.clone(), &model, &made, &fault);
            scope.spawn(move || {
                for export in inbox {
                    match export.write(model, request) {
                        Ok(()) => {
                            made.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => fault(&export.case.identifier, &error),
                    }
                }
            });
        }
        drop(export_in);
        for (number, (case, prepared)) in prepared.iter().enumerate() {
            let total = predictor.passes(prepared.data.shape()) as u64;
            let stage = format!("predict {} ({} of {})", case.identifier, number + 1, missing.len());
            progress.event(Event::Started { stage: &stage, total });
            let mut done = 0;
            let logits = predictor.logits(&prepared.data, cancel, |passes| {
                done += passes as u64;
                progress.event(Event::Advanced { done, detail: "" });
            });
            progress.event(Event::Finished);
            match logits {
                Ok(logits) => {
                    // Export threads only end when this end is dropped.
                    let _ = exports.send(Export { case, logits, properties: prepared.properties });
                }
                Err(PredictError::Interrupted) => break,
                Err(error) => fault(&case.identifier, &error),
            }
        }
        // A reader that waits for room in the queue has to learn that nobody listens.
        drop(prepared);
    });
    if cancel.is_cancelled() {
        return Err(PredictError::Interrupted);
    }
    let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !faults.is_empty() {
        faults.sort();
        return Err(PredictError::Cases { faults, total: missing.len() });
    }
    Ok(Predicted { made: made.into_inner(), kept: kept.len() })
}

/// A predicted case on its way to the disk.
struct Export<'a> {
    case: &'a Case,
    logits: ChannelVolume<f16>,
    properties: Properties,
}

impl Export<'_> {
    fn write(&self, model: &Model, request: &PredictRequest) -> Result<(), PredictError> {
        let stem = request.output.join(&self.case.identifier);
        write_prediction(
            &model.exporter(),
            &self.logits,
            &self.properties,
            &stem,
            &model.dataset.file_ending,
            request.save_probabilities,
        )
    }
}

/// Exports `logits` to `<stem><file_ending>`, with probabilities to `<stem>.npz` and `<stem>.pkl` too.
/// The segmentation comes last: where it is, the case is complete.
///
/// # Errors
/// When logits and properties do not fit, or a file cannot be written.
pub fn write_prediction(
    exporter: &super::Exporter<'_>,
    logits: &ChannelVolume<f16>,
    properties: &Properties,
    stem: &Path,
    file_ending: &str,
    save_probabilities: bool,
) -> Result<(), PredictError> {
    let segmentation = if save_probabilities {
        let (segmentation, probabilities) = exporter.segmentation_and_probabilities(logits, properties)?;
        let path = with_ending(stem, ".npz");
        write_probabilities(&path, &probabilities).map_err(|source| PredictError::Io { path, source })?;
        properties.write(&with_ending(stem, ".pkl"))?;
        segmentation
    } else {
        exporter.segmentation(logits, properties)?
    };
    let path = with_ending(stem, file_ending);
    let format = ImageReader::from_file_ending(file_ending, &path)?;
    Ok(format.write_labels(&path, &segmentation, &properties.geometry)?)
}

/// `stem` with `ending` behind it; stems may contain dots.
fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn is_complete(model: &Model, request: &PredictRequest, identifier: &str) -> bool {
    let stem = request.output.join(identifier);
    let exists = |ending: &str| with_ending(&stem, ending).is_file();
    exists(&model.dataset.file_ending) && (!request.save_probabilities || (exists(".npz") && exists(".pkl")))
}

/// Writes dataset.json, plans.json and the arguments of the run, which later stages look for.
fn write_companions(model: &Model, request: &PredictRequest) -> Result<(), PredictError> {
    let folder = &request.output;
    std::fs::create_dir_all(folder).map_err(|source| PredictError::Io { path: folder.clone(), source })?;
    model.dataset.document().save(&folder.join("dataset.json"), KeyOrder::Kept)?;
    model.plans.write(folder.join("plans.json"))?;
    let text = |path: &Path| Json::String(path.display().to_string());
    let sources = match request.sources.as_slice() {
        [one] => text(one),
        files => Json::Array(vec![Json::Array(files.iter().map(|path| text(path)).collect())]),
    };
    let arguments = Json::object([
        ("folder_with_segs_from_prev_stage", request.previous_stage.as_deref().map_or(Json::Null, text)),
        ("list_of_lists_or_source_folder", sources),
        ("num_parts", Json::Int(request.num_parts as i64)),
        ("num_processes_preprocessing", Json::Int(request.preprocessing_threads as i64)),
        ("num_processes_segmentation_export", Json::Int(request.export_threads as i64)),
        ("output_folder_or_list_of_truncated_output_files", text(folder)),
        ("overwrite", Json::Bool(request.overwrite)),
        ("part_id", Json::Int(request.part_id as i64)),
        ("save_probabilities", Json::Bool(request.save_probabilities)),
    ]);
    Ok(arguments.save(&folder.join("predict_from_raw_data_args.json"), KeyOrder::Sorted)?)
}
