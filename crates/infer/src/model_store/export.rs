//! Models packed into a zip archive, for whoever is to predict with them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::error::StoreError;
use crate::model::{ModelName, models_in};
use crate::predict::quality::TRAINING_VOLUMES;
use nnunet_base::Ctx;
use nnunet_base::files::{StopAtError, folders_in, write_atomic_with};
use nnunet_base::hint::Hint;
use nnunet_base::progress::{Cancel, Event, Interrupted};
use nnunet_dataset::DatasetName;
use nnunet_dataset::cases::files_with_ending;
use nnunet_dataset::splits::Fold;

/// What to pack.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRequest {
    /// The dataset.
    pub dataset: DatasetName,
    /// Configurations of the models.
    pub configurations: Vec<String>,
    /// Their trainer.
    pub trainer: String,
    /// Their plans.
    pub plans: String,
    /// Their folds.
    pub folds: Vec<Fold>,
    /// Names of the checkpoints.
    pub checkpoints: Vec<String>,
    /// Whether a missing configuration or fold is an error.
    pub strict: bool,
    /// Whether the predictions of the cross-validation go along.
    pub crossval_predictions: bool,
}

/// Files beside the predictions of a cross-validation or an ensemble that prediction needs.
const CROSSVAL_FILES: [&str; 3] = ["summary.json", "postprocessing.pkl", "postprocessing.json"];

/// Packs models of `results` into the archive `output` and returns the paths in it.
///
/// # Errors
/// Models, folds or checkpoints that are missing; files that cannot be read or written; interrupted.
pub fn export_model(
    request: &ExportRequest,
    results: &Path,
    output: &Path,
    ctx: Ctx<'_>,
) -> Result<Vec<String>, StoreError> {
    let dataset = results.join(request.dataset.as_str());
    let mut files = Vec::new();
    for configuration in &request.configurations {
        let name = ModelName {
            trainer: request.trainer.clone(),
            plans: request.plans.clone(),
            configuration: configuration.clone(),
        };
        let model = dataset.join(name.to_string());
        if model.is_dir() {
            files.extend(model_files(request, &model)?);
        } else if request.strict {
            return Err(StoreError::NoModel {
                folder: model,
                there: models_of(&dataset),
                hint: Hint::NameTrainedModels,
            });
        }
    }
    if files.is_empty() {
        return Err(StoreError::Nothing { folder: dataset });
    }
    files.extend(ensemble_files(request, &dataset)?);
    let about = ["inference_information.json", "inference_instructions.txt"];
    files.extend(about.map(|name| dataset.join(name)).into_iter().filter(|file| file.is_file()));
    pack(&files, results, output, ctx)
}

/// The files of one model.
fn model_files(request: &ExportRequest, model: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut folds = Vec::new();
    for fold in &request.folds {
        let folder = model.join(format!("fold_{fold}"));
        if !folder.is_dir() && !request.strict {
            continue;
        }
        folds.push(fold.to_string());
        for checkpoint in &request.checkpoints {
            let path = folder.join(checkpoint);
            if !path.is_file() {
                return Err(StoreError::MissingCheckpoint { path, hint: Hint::NameFoldsAndCheckpoint });
            }
            files.push(path);
        }
        let validation = folder.join("validation");
        if request.crossval_predictions && validation.is_dir() {
            files.extend(predictions_in(&validation)?);
        } else {
            files.extend(present(&validation, &["summary.json"]));
        }
        files.extend(present(&folder, &["debug.json", "progress.png", "network_architecture.pdf"]));
    }
    if folds.is_empty() {
        return Ok(Vec::new());
    }
    let crossval = model.join(format!("crossval_results_folds_{}", folds.join("_")));
    files.extend(crossval_files(request, &crossval)?);
    for name in ["plans.json", "dataset.json"] {
        let path = model.join(name);
        if !path.is_file() {
            return Err(StoreError::Missing { path });
        }
        files.push(path);
    }
    files.extend(present(model, &["dataset_fingerprint.json", TRAINING_VOLUMES]));
    Ok(files)
}

/// The files of the ensembles whose members are all exported.
fn ensemble_files(request: &ExportRequest, dataset: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let folder = dataset.join("ensembles");
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for name in names_in(&folder)? {
        let mut parts: Vec<&str> = name.split("___").collect();
        // ensemble___MODEL1___MODEL2___FOLDS
        parts.pop();
        let exported = |member: &&str| {
            ModelName::parse(member).is_some_and(|m| {
                m.trainer == request.trainer
                    && m.plans == request.plans
                    && request.configurations.contains(&m.configuration)
            })
        };
        if parts.len() > 1 && parts[1..].iter().all(exported) {
            files.extend(crossval_files(request, &folder.join(&name))?);
        }
    }
    Ok(files)
}

fn crossval_files(request: &ExportRequest, folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if request.crossval_predictions && folder.is_dir() {
        return Ok(files_with_ending(folder, "")?);
    }
    Ok(present(folder, &CROSSVAL_FILES))
}

/// Files of a validation but probabilities.
fn predictions_in(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let bulky = |file: &PathBuf| file.extension().is_some_and(|e| e == "npz" || e == "pkl");
    Ok(files_with_ending(folder, "")?.into_iter().filter(|file| !bulky(file)).collect())
}

fn present(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
}

/// Names of the folders in `folder`, sorted.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    folders_in(folder).map_err(StoreError::io(folder))
}

/// The models of a dataset, for messages.
fn models_of(dataset: &Path) -> String {
    let names = models_in(dataset);
    if names.is_empty() { "no model".to_owned() } else { names.join(", ") }
}

fn pack(files: &[PathBuf], results: &Path, output: &Path, ctx: Ctx<'_>) -> Result<Vec<String>, StoreError> {
    let names: Vec<String> = files
        .iter()
        .map(|file| {
            let parts = file.strip_prefix(results).unwrap_or(file).components();
            parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
        })
        .collect();
    ctx.event(Event::Started { stage: "export", total: files.len() as u64 });
    let result = write_atomic_with(output, |file| {
        let mut archive = ZipWriter::new(StopAtError::new(file));
        for (i, (path, name)) in files.iter().zip(&names).enumerate() {
            let add = |archive: &mut ZipWriter<_>| add_file(archive, path, name, ctx.cancel);
            add(&mut archive)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            ctx.event(Event::Advanced { done: i as u64 + 1, detail: name });
        }
        archive.finish()?.flush()
    });
    ctx.event(Event::Finished);
    if ctx.is_cancelled() {
        return Err(Interrupted.into());
    }
    result.map_err(StoreError::io(output))?;
    Ok(names)
}

fn add_file<W: Write + io::Seek>(
    archive: &mut ZipWriter<W>,
    path: &Path,
    name: &str,
    cancel: &Cancel,
) -> io::Result<()> {
    let mut source = File::open(path)?;
    // Zip needs to know beforehand whether sizes take more than 32 bits.
    let large = source.metadata()?.len() >= u64::from(u32::MAX);
    archive.start_file(name, SimpleFileOptions::default().large_file(large))?;
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        if cancel.is_cancelled() {
            return Err(io::Error::other(Interrupted));
        }
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            n => archive.write_all(&buffer[..n])?,
        }
    }
}
