//! The predictions of all folds in one folder, evaluated together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::SelectError;
use nnunet_assess::evaluate::{Evaluator, Summary};
use nnunet_base::Ctx;
use nnunet_base::files::{TemporaryFolder, write_atomic};
use nnunet_base::hint::Hint;
use nnunet_data::Parts;
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::cases::files_with_ending;
use nnunet_dataset::{DatasetName, Folders};

/// Name of the folder for `folds` within that of their model.
pub fn crossval_folder_name(folds: &[u32]) -> String {
    format!("crossval_results_folds_{}", joined(folds))
}

/// The folds as they stand in names of folders, e.g. `0_1_2_3_4`.
pub(super) fn joined(folds: &[u32]) -> String {
    folds.iter().map(u32::to_string).collect::<Vec<_>>().join("_")
}

/// The folder of reference segmentations named like the cases: that of the preprocessed dataset, else
/// `labelsTr` of the raw one.
///
/// # Errors
/// Neither exists.
pub fn reference_folder(folders: &Folders, dataset: &DatasetName) -> Result<PathBuf, SelectError> {
    let within = |folder: &Option<PathBuf>, name: &str| {
        folder.as_ref().map(|folder| folder.join(dataset.as_str()).join(name))
    };
    let preprocessed = within(&folders.preprocessed, "gt_segmentations");
    let raw = within(&folders.raw, "labelsTr");
    if let Some(folder) = [&preprocessed, &raw].into_iter().flatten().find(|folder| folder.is_dir()) {
        return Ok(folder.clone());
    }
    let name = |folder: Option<PathBuf>, variable: &str| {
        folder.map_or_else(|| format!("{variable} (not set)"), |path| path.display().to_string())
    };
    Err(SelectError::NoReferences {
        preprocessed: name(preprocessed, "nnUNet_preprocessed"),
        raw: name(raw, "nnUNet_raw"),
        hint: Hint::GiveReferences,
    })
}

/// Files that a model's validations left, by name: those of `folds` that end in `ending`.
///
/// # Errors
/// A fold without validation, or one case in several folds.
pub(super) fn validation_files(
    model: &Path,
    folds: &[u32],
    ending: &str,
) -> Result<BTreeMap<String, PathBuf>, SelectError> {
    let mut all = BTreeMap::new();
    for fold in folds {
        let folder = model.join(format!("fold_{fold}")).join("validation");
        if !folder.is_dir() {
            return Err(SelectError::NoValidation { folder, hint: Hint::FinishFolds });
        }
        let files = files_with_ending(&folder, ending)?;
        if files.is_empty() {
            return Err(match ending {
                ".npz" => SelectError::NoProbabilities { folder, hint: Hint::ValidateWithProbabilities },
                _ => SelectError::NoValidation { folder, hint: Hint::FinishFolds },
            });
        }
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let case = name.strip_suffix(ending).unwrap_or(&name).to_owned();
            if all.insert(case.clone(), file).is_some() {
                return Err(SelectError::SeveralFolds {
                    folder: model.to_owned(),
                    case,
                    hint: Hint::FoldsOfOneSplit,
                });
            }
        }
    }
    Ok(all)
}

/// Copies the validation predictions of `folds` of the model in `model` to `output`, with dataset.json and
/// plans.json, and evaluates them against `references`. `overwrite` makes the folder anew; without it, files
/// that are there stay, and so does the summary if nothing was missing. `parts` has the image formats and label managers.
///
/// # Errors
/// Folds that are missing or overlap, files that cannot be read or written, references that do not fit.
pub fn accumulate(
    model: &Path,
    folds: &[u32],
    output: &Path,
    references: &Path,
    overwrite: bool,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<Summary, SelectError> {
    let about = PredictionFolder::open(model, None, None, parts)?;
    let ending = &about.dataset.file_ending;
    let predictions = validation_files(model, folds, ending)?;
    let names = predictions.keys().map(|case| format!("{case}{ending}")).collect();
    let evaluation = Evaluation { about: &about, names, references, ctx };
    fill(output, overwrite, |folder| {
        about.write_companions(folder).map_err(SelectError::io(folder))?;
        let mut complete = true;
        for (name, source) in evaluation.names.iter().zip(predictions.values()) {
            let target = folder.join(name);
            if !target.is_file() {
                let bytes = std::fs::read(source).map_err(SelectError::io(source))?;
                write_atomic(&target, &bytes).map_err(SelectError::io(&target))?;
                complete = false;
            }
        }
        evaluation.of(folder, output, complete)
    })
}

/// Lets `make` fill a folder: a new one that then replaces `output`, or `output` itself.
pub(super) fn fill<T>(
    output: &Path,
    overwrite: bool,
    make: impl FnOnce(&Path) -> Result<T, SelectError>,
) -> Result<T, SelectError> {
    if overwrite {
        let temporary = TemporaryFolder::beside(output).map_err(SelectError::io(output))?;
        let made = make(temporary.path())?;
        temporary.replace(output).map_err(SelectError::io(output))?;
        Ok(made)
    } else {
        std::fs::create_dir_all(output).map_err(SelectError::io(output))?;
        make(output)
    }
}

/// How a folder of cross-validation predictions is evaluated.
pub(super) struct Evaluation<'a> {
    pub(super) about: &'a PredictionFolder,
    /// Names of the segmentations.
    pub(super) names: Vec<String>,
    pub(super) references: &'a Path,
    pub(super) ctx: Ctx<'a>,
}

impl Evaluation<'_> {
    /// The summary of `folder`, which will be known as `name`; the one that is there if nothing changed.
    pub(super) fn of(&self, folder: &Path, name: &Path, unchanged: bool) -> Result<Summary, SelectError> {
        let file = folder.join("summary.json");
        if unchanged && file.is_file() {
            return Ok(Summary::load(&file)?);
        }
        let pairs: Vec<_> =
            self.names.iter().map(|name| (self.references.join(name), folder.join(name))).collect();
        let labels = &self.about.labels;
        let evaluator =
            Evaluator::new(self.about.reader.clone(), labels.foreground()).ignoring(labels.ignore_label());
        let summary = evaluator.evaluate(&pairs, self.ctx)?.with_predictions_in(name);
        summary.save(&file)?;
        Ok(summary)
    }
}
