//! Planning a dataset on disk: reads dataset.json and the fingerprint, writes the plans file.
//!
//! ```text
//! raw/dataset.json, raw/splits_final.json (if any)  -> preprocessed/ (copied)
//! preprocessed/dataset_fingerprint.json             -> preprocessed/<plans name>.json
//! ```

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::dataset::cases::training_cases;
use crate::dataset::{DatasetError, DatasetJson};
use crate::files::write_atomic;
use crate::fingerprint::Fingerprint;
use crate::json::Json;

use super::error::PlanError;
use super::planner::{DatasetFacts, PlannerOptions, make_plans};
use super::plans_json::Plans;
use super::reader_writer::image_reader_writer;

/// Plans the dataset whose raw and preprocessed folders are given and writes
/// `<preprocessed>/<plans name>.json`, keeping configurations that an existing file has beyond those
/// planned. Returns what was written.
pub fn plan_dataset(
    dataset_name: &str,
    raw: &Path,
    preprocessed: &Path,
    options: &PlannerOptions,
) -> Result<Plans, PlanError> {
    let dataset = DatasetJson::load(&raw.join("dataset.json"))?;
    let facts = read_facts(dataset_name, raw, preprocessed, &dataset)?;
    let mut plans = make_plans(&facts, options)?;
    copy_splits(raw, preprocessed)?;
    copy(&raw.join("dataset.json"), &preprocessed.join("dataset.json"))?;
    let path = preprocessed.join(format!("{}.json", options.plans_name()));
    if path.exists() {
        plans.keep_configurations_of(&Plans::read(&path)?);
    }
    plans.write(&path)?;
    Ok(plans)
}

/// What planning needs to know of the dataset in the two folders.
pub fn read_facts(
    dataset_name: &str,
    raw: &Path,
    preprocessed: &Path,
    dataset: &DatasetJson,
) -> Result<DatasetFacts, PlanError> {
    let path = preprocessed.join("dataset_fingerprint.json");
    if !path.exists() {
        return Err(PlanError::Missing { path, remedy: "extract the fingerprint of the dataset first" });
    }
    let fingerprint = Fingerprint::load(&path)?;
    Ok(DatasetFacts {
        dataset_name: dataset_name.to_owned(),
        channel_names: dataset.channel_names.values().cloned().collect(),
        label_entries: dataset.labels.len(),
        training_cases: dataset.num_training.unwrap_or(fingerprint.spacings.len()),
        image_reader_writer: reader_of(raw, dataset)?.to_owned(),
        fingerprint,
    })
}

fn reader_of(raw: &Path, dataset: &DatasetJson) -> Result<&'static str, PlanError> {
    let asked_for = dataset.overwrite_image_reader_writer.as_deref();
    let stack = dataset.file_ending.eq_ignore_ascii_case(".tif")
        && training_cases(raw, dataset)?
            .first()
            .and_then(|case| case.images.first())
            .is_some_and(|image| is_tiff_stack(image));
    image_reader_writer(&dataset.file_ending, asked_for, stack)
}

/// Whether a TIFF file has more than one page; false for anything that is no classic TIFF.
fn is_tiff_stack(path: &Path) -> bool {
    let second_page = || -> std::io::Result<bool> {
        let mut file = std::fs::File::open(path)?;
        let mut header = [0u8; 8];
        file.read_exact(&mut header)?;
        let little = match &header[..4] {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return Ok(false),
        };
        let u32_of = |b: [u8; 4]| if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) };
        let first = u32_of([header[4], header[5], header[6], header[7]]);
        file.seek(SeekFrom::Start(first.into()))?;
        let mut count = [0u8; 2];
        file.read_exact(&mut count)?;
        let entries = if little { u16::from_le_bytes(count) } else { u16::from_be_bytes(count) };
        file.seek(SeekFrom::Current(12 * i64::from(entries)))?;
        let mut next = [0u8; 4];
        file.read_exact(&mut next)?;
        Ok(u32_of(next) != 0)
    };
    second_page().unwrap_or(false)
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
