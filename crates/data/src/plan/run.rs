//! Planning a dataset on disk: reads dataset.json and the fingerprint, writes the plans file.
//!
//! ```text
//! raw/dataset.json, splits_final.json and patients.tsv (if any)  -> preprocessed/ (copied)
//! preprocessed/dataset_fingerprint.json                          -> preprocessed/<plans name>.json
//! ```

use std::path::{Path, PathBuf};

use crate::fingerprint::Fingerprint;
use crate::parts::Parts;
use crate::planner::{Channel, DatasetFacts, PlanError, PlannerOptions};
use nnunet_base::files::write_atomic;
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::patients::PATIENTS_FILE;
use nnunet_dataset::{DatasetError, DatasetJson, ImageReader, Patients};
use nnunet_pyformats::json::Json;

use super::explain::{Explanation, explain, options_shown_by};
use super::in_use::lock_cases;
use super::make::make_plans;
use super::plans_json::Plans;

/// Plans the dataset whose raw and preprocessed folders are given and writes
/// `<preprocessed>/<plans name>.json`, keeping configurations that an existing file has beyond those
/// planned. Returns what was written.
///
/// # Errors
/// Files that are missing, damaged or cannot be written; other plans than those that a training or preprocessing uses just
/// now. Nothing is written then.
pub fn plan_dataset(
    dataset_name: &str,
    raw: &Path,
    preprocessed: &Path,
    options: &PlannerOptions,
    parts: &Parts,
) -> Result<Plans, PlanError> {
    let dataset = DatasetJson::load(&raw.join("dataset.json"))?;
    let mut facts =
        read_facts(dataset_name, preprocessed, &dataset, reader_name(raw, &dataset, parts)?, parts)?;
    facts.training_cases = options.training_cases.unwrap_or(facts.training_cases);
    let mut plans = make_plans(&facts, options, parts)?;
    let path = preprocessed.join(format!("{}.json", plans.plans_name()));
    if path.exists() {
        plans.keep_configurations_of(&Plans::read(&path)?);
    }
    let _locks = lock_cases(preprocessed, &path, &plans)?;
    copy_splits(raw, preprocessed)?;
    copy(&raw.join("dataset.json"), &preprocessed.join("dataset.json"))?;
    copy_patients(raw, preprocessed)?;
    plans.write(&path)?;
    Ok(plans)
}

/// Explains every value of the plans `plans_name` in `preprocessed`. `options` says what the plans do not show: the memory
/// they were made for. Of plans by a planner that is not registered, only what does not depend on the planner is explained.
pub fn explain_plans(
    preprocessed: &Path,
    plans_name: &str,
    options: PlannerOptions,
    parts: &Parts,
) -> Result<Vec<Explanation>, PlanError> {
    let plans = Plans::of_dataset(preprocessed, plans_name)?;
    let dataset = DatasetJson::load(&preprocessed.join("dataset.json"))?;
    let reader = plans.image_reader_writer().to_owned();
    let facts = read_facts(plans.dataset_name(), preprocessed, &dataset, reader, parts)?;
    let options = options_shown_by(&plans, &facts, options, parts)?;
    explain(&plans, &facts, &options, parts)
}

/// What planning needs to know of a dataset: parts of dataset.json and the fingerprint in `preprocessed`.
pub fn read_facts(
    dataset_name: &str,
    preprocessed: &Path,
    dataset: &DatasetJson,
    image_reader_writer: String,
    parts: &Parts,
) -> Result<DatasetFacts, PlanError> {
    let path = preprocessed.join("dataset_fingerprint.json");
    if !path.exists() {
        return Err(PlanError::Missing { path, remedy: "extract the fingerprint of the dataset first" });
    }
    let fingerprint = Fingerprint::load(&path)?;
    Ok(DatasetFacts {
        dataset_name: dataset_name.to_owned(),
        channels: dataset
            .channel_names
            .values()
            .map(|name| Channel::new(name, &parts.normalizations))
            .collect(),
        label_entries: dataset.labels.len(),
        training_cases: dataset.num_training.unwrap_or(fingerprint.spacings.len()),
        image_reader_writer,
        fingerprint,
    })
}

/// Name of the reader for the images of a dataset.
pub(super) fn reader_name(raw: &Path, dataset: &DatasetJson, parts: &Parts) -> Result<String, PlanError> {
    let example = example_image(raw, dataset);
    Ok(ImageReader::for_example(&parts.formats, dataset, example.as_deref())?.name().to_owned())
}

/// An image of the dataset. Planning itself needs none: without the raw images the file ending decides.
fn example_image(raw: &Path, dataset: &DatasetJson) -> Option<PathBuf> {
    training_cases(raw, dataset).ok()?.first()?.images.first().cloned()
}

/// Copies splits_final.json of the raw folder, or checks that the folds it has are those in use.
fn copy_splits(raw: &Path, preprocessed: &Path) -> Result<(), PlanError> {
    let source = raw.join("splits_final.json");
    let target = preprocessed.join("splits_final.json");
    if !source.exists() {
        return Ok(());
    }
    if !target.exists() {
        return copy(&source, &target);
    }
    let (theirs, ours) = (Json::load(&source)?, Json::load(&target)?);
    let cases = |splits: &Json, fold: usize, part: &str| {
        let mut cases: Vec<String> = splits
            .as_array()
            .and_then(|folds| folds.get(fold)?.get(part)?.as_array())
            .into_iter()
            .flatten()
            .filter_map(|case| case.as_str().map(str::to_owned))
            .collect();
        cases.sort();
        cases
    };
    // Additional folds in use are fine.
    for fold in 0..theirs.as_array().map_or(0, <[Json]>::len) {
        if ["train", "val"].iter().any(|part| cases(&theirs, fold, part) != cases(&ours, fold, part)) {
            return Err(PlanError::SplitsDiffer { raw: source, preprocessed: target, fold });
        }
    }
    Ok(())
}

/// Folds are made from the preprocessed folder, so the patients of the cases go there.
fn copy_patients(raw: &Path, preprocessed: &Path) -> Result<(), PlanError> {
    Patients::load(raw)?;
    let source = raw.join(PATIENTS_FILE);
    if source.exists() { copy(&source, &preprocessed.join(PATIENTS_FILE)) } else { Ok(()) }
}

fn copy(source: &Path, target: &Path) -> Result<(), PlanError> {
    let bytes = std::fs::read(source).map_err(|source_error| {
        PlanError::Dataset(DatasetError::Io {
            path: source.to_owned(),
            expected: "a file that can be read",
            source: source_error,
        })
    })?;
    write_atomic(target, &bytes).map_err(|e| PlanError::write(target, e))
}
