//! Which models are installed.

use std::path::Path;

use super::error::StoreError;
use super::export::names_in;
use crate::model::ModelName;
use nnunet_data::plan::Plans;
use nnunet_dataset::{DatasetJson, DatasetName};

/// A model in the results folder.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledModel {
    /// The dataset it was trained on.
    pub dataset: DatasetName,
    /// Its trainer, plans and configuration.
    pub name: ModelName,
    /// Folds that have a checkpoint, `all` last.
    pub folds: Vec<String>,
    /// Bytes of all checkpoints.
    pub checkpoint_bytes: u64,
    /// What its files say; the error is a line.
    pub about: Result<ModelFacts, String>,
}

/// What plans.json and dataset.json say of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFacts {
    /// Names of the classes, without background and ignore.
    pub classes: Vec<String>,
    /// Names of the input channels.
    pub channels: Vec<String>,
    /// Spacing in mm that images are resampled to: (z, y, x), or (y, x) for slices.
    pub spacing: Vec<f64>,
}

/// All models below `results`, sorted by dataset and name.
///
/// # Errors
/// The folder cannot be listed. A model that cannot be read is listed with the reason.
pub fn installed_models(results: &Path) -> Result<Vec<InstalledModel>, StoreError> {
    let mut models = Vec::new();
    for folder in names_in(results)? {
        let Ok(dataset) = DatasetName::new(&folder) else { continue };
        for folder in names_in(&results.join(dataset.as_str()))? {
            let Some(name) = ModelName::parse(&folder) else { continue };
            let model = results.join(dataset.as_str()).join(&folder);
            let (folds, checkpoint_bytes) = checkpoints(&model)?;
            // A training that has not begun, or did not get that far: no model yet.
            if folds.is_empty()
                && !["plans.json", "dataset.json"].iter().any(|name| model.join(name).exists())
            {
                continue;
            }
            let about = facts(&model, &name.configuration);
            models.push(InstalledModel { dataset: dataset.clone(), name, folds, checkpoint_bytes, about });
        }
    }
    Ok(models)
}

fn checkpoints(model: &Path) -> Result<(Vec<String>, u64), StoreError> {
    let (mut folds, mut bytes) = (Vec::new(), 0);
    for folder in names_in(model)? {
        let Some(fold) = folder.strip_prefix("fold_") else { continue };
        let entries = std::fs::read_dir(model.join(&folder)).map_err(StoreError::io(model))?;
        let sizes: Vec<u64> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "pth"))
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .collect();
        if !sizes.is_empty() {
            folds.push(fold.to_owned());
            bytes += sizes.iter().sum::<u64>();
        }
    }
    folds.sort_by_key(|fold| (fold.parse::<u32>().unwrap_or(u32::MAX), fold.clone()));
    Ok((folds, bytes))
}

fn facts(model: &Path, configuration: &str) -> Result<ModelFacts, String> {
    let dataset = DatasetJson::load(&model.join("dataset.json")).map_err(|error| error.to_string())?;
    let plans = Plans::read(model.join("plans.json")).map_err(|error| error.to_string())?;
    let configuration = plans.configuration(configuration).map_err(|error| error.to_string())?;
    let classes = dataset.labels.keys().filter(|name| !matches!(name.as_str(), "background" | "ignore"));
    Ok(ModelFacts {
        classes: classes.cloned().collect(),
        channels: dataset.channel_names.values().cloned().collect(),
        spacing: configuration.spacing.clone(),
    })
}
