//! Predicting many cases from files into a folder.

use std::path::{Path, PathBuf};

use super::cascade::CaseReader;
use super::case_files::with_ending;
use super::cases::{CaseSize, Cases, PreparedCase};
use super::error::PredictError;
use super::memory::TooLarge;
use super::pipeline::Pipeline;
use super::predictor::Predictor;
use super::quality::{QualityControl, TrainingVolumes, quality_file_name};
use crate::model::ModelSpec;
use nnunet_base::Ctx;
use nnunet_data::preprocess::PreprocessedCase;
use nnunet_dataset::{Case, warn_of_missing_spacing_files};
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
    /// Whether and how `qc.tsv` is written: which cases to look at first.
    pub quality: Option<QualityRequest>,
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
            quality: None,
            overwrite: true,
            num_parts: 1,
            part_id: 0,
            preprocessing_threads: 1,
            export_threads: 1,
        }
    }
}

/// How the quality of predictions is controlled.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QualityRequest {
    /// Volumes in the training set, which those of the predictions are compared with.
    pub training: Option<TrainingVolumes>,
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
    predictor: &mut Predictor<'_>,
    cases: &[Case],
    request: &PredictRequest,
    ctx: Ctx<'_>,
) -> Result<Predicted, PredictError> {
    let spec = predictor.spec().clone();
    let reader = CaseReader::new(&spec, request.previous_stage.as_deref(), request.save_probabilities)?;
    write_companions(&spec, request)?;
    let quality = match &request.quality {
        Some(wanted) => {
            let path = request.output.join(quality_file_name(request.part_id, request.num_parts));
            Some(QualityControl::new(&spec, predictor.passes_per_tile(), wanted.training.as_ref(), path)?)
        }
        None => None,
    };
    let is_complete = |case: &str| {
        is_complete(&spec, request, case) && quality.as_ref().is_none_or(|quality| quality.has(case))
    };
    let part = cases.iter().skip(request.part_id).step_by(request.num_parts.max(1));
    let (kept, missing): (Vec<&Case>, Vec<&Case>) =
        part.partition(|case| !request.overwrite && is_complete(&case.identifier));
    reader.check(&missing)?;
    if !missing.is_empty() {
        warn_of_missing_spacing_files(reader.reader(), cases, ctx.progress);
        if quality.is_none() {
            remove_outdated_quality(request, ctx)?;
        }
    }
    let pipeline = Pipeline {
        verb: "predict",
        output: request.output.clone(),
        save_probabilities: request.save_probabilities,
        reading_threads: request.preprocessing_threads,
        export_threads: request.export_threads,
        too_large: TooLarge::Refused,
    };
    let cases = RawCases { reader, cases: missing };
    let made = pipeline.run_with_quality(predictor, &cases, quality.as_ref(), ctx)?;
    Ok(Predicted { made, kept: kept.len() })
}

/// Removes the table of quality control of earlier predictions, some of which are about to be replaced.
fn remove_outdated_quality(request: &PredictRequest, ctx: Ctx<'_>) -> Result<(), PredictError> {
    let path = request.output.join(quality_file_name(request.part_id, request.num_parts));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(PredictError::Io { path, source }),
        Ok(()) => {
            ctx.warning(&format!("{}: removed, it is about earlier segmentations", path.display()));
            Ok(())
        }
    }
}

/// Cases as the user has them.
struct RawCases<'a> {
    reader: CaseReader<'a>,
    cases: Vec<&'a Case>,
}

impl Cases for RawCases<'_> {
    fn count(&self) -> usize {
        self.cases.len()
    }

    fn identifier(&self, case: usize) -> &str {
        &self.cases[case].identifier
    }

    fn size(&self, case: usize) -> Option<CaseSize> {
        let path = self.cases[case].images.first()?;
        let (_, shape, spacing) = self.reader.reader().read_header(path).ok()?;
        self.reader.size(shape, spacing).ok()
    }

    fn read(&self, case: usize, ctx: Ctx<'_>) -> Result<PreparedCase, PredictError> {
        let PreprocessedCase { data, properties, .. } = self.reader.read(self.cases[case], ctx.progress)?;
        Ok(PreparedCase { data, properties, next_stages: Vec::new() })
    }
}

fn is_complete(spec: &ModelSpec, request: &PredictRequest, identifier: &str) -> bool {
    let stem = request.output.join(identifier);
    let exists = |ending: &str| with_ending(&stem, ending).is_file();
    exists(spec.file_ending()) && (!request.save_probabilities || (exists(".npz") && exists(".pkl")))
}

/// Writes dataset.json, plans.json and the arguments of the run, which later stages look for.
fn write_companions(spec: &ModelSpec, request: &PredictRequest) -> Result<(), PredictError> {
    let folder = &request.output;
    std::fs::create_dir_all(folder).map_err(|source| PredictError::Io { path: folder.clone(), source })?;
    spec.dataset.document().save(&folder.join("dataset.json"), KeyOrder::Kept)?;
    spec.plans.write(folder.join("plans.json"))?;
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
