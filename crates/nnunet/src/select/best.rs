//! The best of single models and ensembles of two.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::crossval::{
    Evaluation, accumulate, crossval_folder_name, fill, joined, reference_folder, validation_files,
};
use super::error::SelectError;
use nnunet_assess::evaluate::Summary;
use nnunet_assess::postprocess::{Determined, determine};
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::progress::{Event, Progress};
use nnunet_base::workers::Workers;
use nnunet_data::Parts;
use nnunet_data::plan::Plans;
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::{DatasetName, Folders};
use nnunet_infer::ensemble::{MergeJob, Merger, check_complete};
use nnunet_infer::model::ModelName;

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectRequest {
    /// The dataset.
    pub dataset: DatasetName,
    /// The models, in the order in which they win ties. Configurations that the plans do not have are skipped.
    pub models: Vec<ModelName>,
    /// The folds that were trained.
    pub folds: Vec<u32>,
    /// Whether ensembles of two models are compared too.
    pub ensembling: bool,
    /// Whether results of earlier comparisons are made anew.
    pub overwrite: bool,
}

/// A model or an ensemble with its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Name of the model's folder, or that of the ensemble.
    pub identifier: String,
    /// The models: one, or the two of an ensemble.
    pub members: Vec<ModelName>,
    /// The folder of its predictions for all cases.
    pub folder: PathBuf,
    /// Mean Dice over the foreground classes.
    pub dice: f64,
}

/// The choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The models that were compared.
    pub considered: Vec<ModelName>,
    /// Every model, then every ensemble.
    pub candidates: Vec<Candidate>,
    /// Which of them is best: the first of the best, so that single models win against equal ensembles.
    pub best: usize,
    /// The postprocessing for the best.
    pub postprocessing: Determined,
}

impl Selection {
    /// The best candidate.
    pub fn winner(&self) -> &Candidate {
        &self.candidates[self.best]
    }
}

/// Compares the models and their ensembles and finds the postprocessing for the best. `parts` has the image formats and label
/// managers.
///
/// # Errors
/// Models or folds that are not trained, missing probabilities, what evaluation and postprocessing report.
pub fn find_best(
    request: &SelectRequest,
    folders: &Folders,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<Selection, SelectError> {
    let results = folders.results()?.join(request.dataset.as_str());
    let references = reference_folder(folders, &request.dataset)?;
    let considered = available(request, folders, &results, ctx.progress)?;
    let mut candidates = Vec::new();
    for model in &considered {
        let folder = results.join(model.to_string());
        let output = folder.join(crossval_folder_name(&request.folds));
        let summary =
            accumulate(&folder, &request.folds, &output, &references, request.overwrite, parts, ctx)?;
        candidates.push(Candidate {
            identifier: model.to_string(),
            members: vec![model.clone()],
            folder: output,
            dice: summary.foreground_mean.dice,
        });
    }
    if request.ensembling {
        for (i, first) in considered.iter().enumerate() {
            for second in &considered[i + 1..] {
                let identifier = format!("ensemble___{first}___{second}___{}", joined(&request.folds));
                let output = results.join("ensembles").join(&identifier);
                let members = vec![first.clone(), second.clone()];
                let models: Vec<_> = members.iter().map(|member| results.join(member.to_string())).collect();
                let summary = ensemble(request, &models, &output, &references, parts, ctx)?;
                let dice = summary.foreground_mean.dice;
                candidates.push(Candidate { identifier, members, folder: output, dice });
            }
        }
    }
    let mut best = 0;
    for (i, candidate) in candidates.iter().enumerate() {
        if candidate.dice > candidates[best].dice || candidates[best].dice.is_nan() {
            best = i;
        }
    }
    let folder = PredictionFolder::open(&candidates[best].folder, None, None, parts)?;
    let postprocessing = determine(&folder, &references, true, ctx)?;
    Ok(Selection { considered, candidates, best, postprocessing })
}

/// The models whose plans have their configuration; each of those must be there.
fn available(
    request: &SelectRequest,
    folders: &Folders,
    results: &Path,
    progress: &dyn Progress,
) -> Result<Vec<ModelName>, SelectError> {
    let mut valid = Vec::new();
    for model in &request.models {
        let folder = results.join(model.to_string());
        let missing = || SelectError::NoModel {
            folder: folder.clone(),
            hint: Hint::TrainOrLeaveOut {
                configuration: model.configuration.clone(),
                trainer: model.trainer.clone(),
                plans: model.plans.clone(),
            },
        };
        let planned = folders
            .preprocessed
            .as_ref()
            .map(|folder| folder.join(request.dataset.as_str()).join(format!("{}.json", model.plans)))
            .filter(|file| file.is_file());
        if planned.is_none() && !folder.is_dir() {
            return Err(missing());
        }
        let plans = Plans::read(planned.unwrap_or_else(|| folder.join("plans.json")))?;
        if !plans.has_configuration(&model.configuration) {
            progress.event(Event::Message(&format!(
                "configuration {} is not in {}; skipped",
                model.configuration, model.plans
            )));
        } else if !folder.is_dir() {
            return Err(missing());
        } else {
            valid.push(model.clone());
        }
    }
    if valid.is_empty() {
        let list = |part: fn(&ModelName) -> &str| {
            let parts: BTreeSet<&str> = request.models.iter().map(part).collect();
            parts.into_iter().collect::<Vec<_>>().join(", ")
        };
        return Err(SelectError::NoCandidates {
            asked: list(|model| &model.configuration),
            plans: list(|model| &model.plans),
        });
    }
    Ok(valid)
}

/// Averages the validation probabilities of `models` and evaluates the result in `output`.
fn ensemble(
    request: &SelectRequest,
    models: &[PathBuf],
    output: &Path,
    references: &Path,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<Summary, SelectError> {
    let files = models
        .iter()
        .map(|model| validation_files(model, &request.folds, ".npz"))
        .collect::<Result<Vec<_>, _>>()?;
    let all: BTreeSet<&String> = files.iter().flat_map(|files| files.keys()).collect();
    for (model, files) in models.iter().zip(&files) {
        check_complete(model, &files.keys().collect(), &all)?;
    }
    let about = PredictionFolder::open(&models[0], None, None, parts)?;
    let ending = &about.dataset.file_ending;
    let names = all.iter().map(|case| format!("{case}{ending}")).collect();
    let evaluation = Evaluation { about: &about, names, references, ctx };
    fill(output, request.overwrite, |folder| {
        about.write_companions(folder).map_err(SelectError::io(folder))?;
        let jobs: Vec<MergeJob> = all
            .iter()
            .filter(|case| !folder.join(format!("{case}{ending}")).is_file())
            .map(|case| MergeJob {
                identifier: (*case).clone(),
                probabilities: files.iter().map(|files| files[*case].clone()).collect(),
            })
            .collect();
        let merger = Merger {
            labels: &about.labels,
            reader: &about.reader,
            file_ending: ending,
            output: folder,
            save_probabilities: false,
        };
        merger.merge_all(&jobs, &Workers::within_available(&merger.needs(&jobs), ctx), ctx)?;
        evaluation.of(folder, output, jobs.is_empty())
    })
}
