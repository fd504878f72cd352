//! Predicting many cases: reading and preprocessing, the network and the export overlap.
//!
//! ```text
//! reader threads -> bounded queue -> network (this thread) -> bounded queue -> export threads
//! ```
//! A case that fails does not stop the others; all failures are reported at the end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use half::f16;
use nnunet_base::files::temporary_stem;
use nnunet_volume::{ChannelVolume, Volume};

use super::cascade::CaseReader;
use super::error::PredictError;
use super::memory;
use super::model_folder::Model;
use super::predictor::Predictor;
use super::probabilities::write_probabilities;
use nnunet_base::Ctx;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::Event;
use nnunet_data::dataset::Case;
use nnunet_data::preprocess::{PreprocessedCase, Properties};
use nnunet_pyformats::json::{Json, KeyOrder};

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
    /// Bytes of main memory that the prediction may take; where cases cannot overlap within it, they
    /// come one after the other, and where a case does not fit alone, nothing is begun. If absent, cases overlap within
    /// what is available, and have to fit into what the process can have at all.
    pub max_ram: Option<u64>,
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
            max_ram: None,
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
/// When the output cannot be written; when cases need more memory than the limit; when cases failed (all
/// are named, the others are done); when `cancel` is raised.
pub fn predict_cases(
    predictor: &mut Predictor,
    cases: &[Case],
    request: &PredictRequest,
    ctx: Ctx<'_>,
) -> Result<Predicted, PredictError> {
    let model = predictor.model().clone();
    let reader = CaseReader::new(&model, request.previous_stage.as_deref(), request.save_probabilities)?;
    write_companions(&model, request)?;
    let part = cases.iter().skip(request.part_id).step_by(request.num_parts.max(1));
    let (kept, missing): (Vec<&Case>, Vec<&Case>) =
        part.partition(|case| !request.overwrite && is_complete(&model, request, &case.identifier));
    reader.check(&missing)?;
    let overlap = memory::plan(predictor, &reader, &missing, request, ctx.progress)?;
    remove_leftovers(&request.output, &model.dataset.file_ending, &missing);
    let job = Job {
        model: &model,
        reader,
        request,
        cases: &missing,
        faults: Mutex::new(Vec::new()),
        made: AtomicUsize::new(0),
        ctx,
    };
    if overlap {
        job.overlapping(predictor);
    } else {
        job.one_by_one(predictor);
    }
    if ctx.is_cancelled() {
        return Err(PredictError::Interrupted);
    }
    let mut faults = job.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !faults.is_empty() {
        faults.sort();
        return Err(PredictError::Cases { faults, total: missing.len() });
    }
    Ok(Predicted { made: job.made.into_inner(), kept: kept.len() })
}

/// One call of [`predict_cases`].
struct Job<'a> {
    model: &'a Model,
    reader: CaseReader<'a>,
    request: &'a PredictRequest,
    cases: &'a [&'a Case],
    faults: Mutex<Vec<String>>,
    made: AtomicUsize,
    ctx: Ctx<'a>,
}

impl Job<'_> {
    /// Reading, the network and the export of different cases at the same time.
    fn overlapping(&self, predictor: &mut Predictor) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (prepared_out, prepared): (Sender<(&Case, PreprocessedCase)>, _) = bounded(1);
            let (exports, export_in): (Sender<Export<'_>>, Receiver<Export<'_>>) = bounded(1);
            for _ in 0..self.request.preprocessing_threads.clamp(1, self.cases.len().max(1)) {
                let (out, next) = (prepared_out.clone(), &next);
                scope.spawn(move || {
                    while let Some(case) = self.cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.ctx.is_cancelled() {
                            return;
                        }
                        // Nobody listens any more when the run ends early.
                        if let Some(prepared) = self.prepare(case)
                            && out.send((case, prepared)).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(prepared_out);
            for _ in 0..self.request.export_threads.clamp(1, self.cases.len().max(1)) {
                let inbox = export_in.clone();
                scope.spawn(move || inbox.into_iter().for_each(|export| self.export(export)));
            }
            drop(export_in);
            for (number, (case, prepared)) in prepared.iter().enumerate() {
                if let Some(export) = self.predict(predictor, number, case, prepared) {
                    // Export threads only end when this end is dropped.
                    let _ = exports.send(export);
                }
                if self.ctx.is_cancelled() {
                    break;
                }
            }
            // A reader that waits for room in the queue has to learn that nobody listens.
            drop(prepared);
        });
    }

    /// One case after the other, with the least memory.
    fn one_by_one(&self, predictor: &mut Predictor) {
        for (number, case) in self.cases.iter().enumerate() {
            if self.ctx.is_cancelled() {
                return;
            }
            let prepared = self.prepare(case);
            if let Some(export) = prepared.and_then(|p| self.predict(predictor, number, case, p)) {
                self.export(export);
            }
        }
    }

    fn prepare(&self, case: &Case) -> Option<PreprocessedCase> {
        self.or_fault(case, one_case(|| self.reader.read(case, self.ctx.progress)))
    }

    /// Runs the network over a case. `None` if it failed or was stopped.
    fn predict<'c>(
        &self,
        predictor: &mut Predictor,
        number: usize,
        case: &'c Case,
        prepared: PreprocessedCase,
    ) -> Option<Export<'c>> {
        let PreprocessedCase { data, properties, .. } = prepared;
        self.or_fault(case, self.check_limit(predictor, &data, &properties))?;
        let total = predictor.passes(data.shape()) as u64;
        let stage = format!("predict {} ({} of {})", case.identifier, number + 1, self.cases.len());
        self.ctx.event(Event::Started { stage: &stage, total });
        let mut done = 0;
        let mut advance = |passes: usize| {
            done += passes as u64;
            self.ctx.event(Event::Advanced { done, detail: "" });
        };
        let result = one_case(|| {
            if self.request.save_probabilities {
                predictor.logits(&data, self.ctx.cancel, &mut advance).map(Output::Logits)
            } else {
                predictor.segmentation(&data, &properties, self.ctx.cancel, &mut advance).map(Output::Labels)
            }
        });
        self.ctx.event(Event::Finished);
        if matches!(result, Err(PredictError::Panicked(_))) {
            self.or_fault(case, predictor.renew())?;
        }
        let output = self.or_fault(case, result)?;
        Some(Export { case, output, properties })
    }

    /// Checks the limit of memory again, now that the size of the case is certain.
    fn check_limit(
        &self,
        predictor: &Predictor,
        data: &ChannelVolume<f32>,
        properties: &Properties,
    ) -> Result<(), PredictError> {
        let shape = properties.shape_before_cropping;
        let need = predictor.memory(shape, data.shape(), self.request.save_probabilities)?;
        Ok(memory::check(predictor, &need, self.request.max_ram)?)
    }

    fn export(&self, export: Export<'_>) {
        let case = export.case;
        let written = one_case(|| export.write(self.model, self.request));
        if self.or_fault(case, written).is_some() {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what went wrong with a case. An interruption is no fault of it.
    fn or_fault<T>(&self, case: &Case, result: Result<T, PredictError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(PredictError::Interrupted) => None,
            Err(error) => {
                let line = format!("case {}: {error}", case.identifier);
                self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                None
            }
        }
    }
}

/// What the network made of a case.
enum Output {
    Labels(Volume<u16>),
    /// For probabilities.
    Logits(ChannelVolume<f16>),
}

/// A predicted case on its way to the disk.
struct Export<'a> {
    case: &'a Case,
    output: Output,
    properties: Properties,
}

impl Export<'_> {
    fn write(&self, model: &Model, request: &PredictRequest) -> Result<(), PredictError> {
        let stem = request.output.join(&self.case.identifier);
        let ending = &model.dataset.file_ending;
        match &self.output {
            Output::Labels(labels) => {
                write_labels(&model.exporter(), labels, &self.properties, &stem, ending)
            }
            Output::Logits(logits) => {
                write_prediction(&model.exporter(), logits, &self.properties, &stem, ending, true)
            }
        }
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
    write_labels(exporter, &segmentation, properties, stem, file_ending)
}

/// Writes a segmentation on the original grid to `<stem><file_ending>`, with the reader that the plans name.
fn write_labels(
    exporter: &super::Exporter<'_>,
    segmentation: &Volume<u16>,
    properties: &Properties,
    stem: &Path,
    file_ending: &str,
) -> Result<(), PredictError> {
    let path = with_ending(stem, file_ending);
    let reader = exporter.reader(file_ending, &path)?;
    Ok(reader.write_labels(&path, segmentation, &properties.geometry)?)
}

/// Removes what killed runs left of these cases: files that were not complete have hidden names.
fn remove_leftovers(folder: &Path, file_ending: &str, cases: &[&Case]) {
    let endings = [file_ending, ".npz", ".pkl"];
    let files = cases.iter().flat_map(|case| endings.map(|ending| format!("{}{ending}", case.identifier)));
    // Long names are shortened, so that the case's own name is not in them.
    let stems: HashSet<String> = files.map(|file| temporary_stem(&file).into_owned()).collect();
    let names: HashSet<&str> = cases.iter().map(|case| case.identifier.as_str()).collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')) else { continue };
        let unfinished = name.ends_with(".tmp");
        let of_a_case = name
            .match_indices('.')
            .map(|(dot, _)| &name[..dot])
            .any(|start| names.contains(start) || stems.contains(start));
        if unfinished && of_a_case {
            // It is only in the way; if it cannot be removed, the prediction can still be made.
            let _ = std::fs::remove_file(entry.path());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_the_cases_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let case = |identifier: String| Case { identifier, images: Vec::new(), label: None };
        let long = |last: char| format!("{}{last}", "x".repeat(239));
        let cases = [case("a.b".to_owned()), case(long('a'))];
        let unfinished = |file: &str| nnunet_base::files::temporary_name(&folder.path().join(file));
        let go = ["a.b.nii.gz".to_owned(), format!("{}.nii.gz", long('a')), format!("{}.npz", long('a'))];
        let stay = ["a.nii.gz".to_owned(), format!("{}.nii.gz", long('b'))];
        let (go, stay) = (go.map(|file| unfinished(&file)), stay.map(|file| unfinished(&file)));
        for path in go.iter().chain(&stay) {
            std::fs::write(path, "half").unwrap();
        }
        remove_leftovers(folder.path(), ".nii.gz", &cases.iter().collect::<Vec<_>>());
        assert!(go.iter().all(|path| !path.exists()));
        assert!(stay.iter().all(|path| path.exists()));
    }
}
