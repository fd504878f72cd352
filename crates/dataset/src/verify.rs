//! Checking a raw dataset: every fault of every case at once, not only the first.
//!
//! What is an error and what a warning follows the reference's integrity check: shapes, spacings (1e-5
//! relative), labels and file names must be right; differing origins and directions are worth a look.
//! Voxels that are NaN or infinite are an error, unless the reader makes zeros of them. Cases are checked in parallel,
//! one image per worker in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_image_io::ImageWarning;
use rayon::prelude::*;

use super::cases::{Case, discover, files_with_ending, found_training_cases};
pub use super::fault::{Fault, Problem, Report, Severity};
use super::patients::Patients;
use super::reader::{ImageFormats, ImageReader, image_ending};
use super::spacing_files::ManyMissing;
use super::verify_case::CaseCheck;
use super::{DatasetJson, LabelManager};
use nnunet_base::Ctx;
use nnunet_base::one_case::{Panicked, one_case};
use nnunet_base::progress::{Event, Silent};

/// Checks the raw dataset in `folder`: dataset.json, the files of all training cases, their content.
/// `variables` are those of the environment, for the paths in dataset.json; `formats` those that images may have.
pub fn verify(
    folder: &Path,
    variables: impl Fn(&str) -> Option<String>,
    formats: &ImageFormats,
    ctx: Ctx<'_>,
) -> Report {
    let mut report = Report::default();
    let path = folder.join("dataset.json");
    match DatasetJson::load(&path) {
        Err(error) => report.add(path, Problem::Dataset(error)),
        Ok(mut json) => {
            json.expand_variables(variables);
            verify_dataset(folder, &json, formats, &mut report, ctx);
            report.json = Some(json);
        }
    }
    report
}

fn verify_dataset(
    folder: &Path,
    json: &DatasetJson,
    formats: &ImageFormats,
    report: &mut Report,
    ctx: Ctx<'_>,
) {
    if (0..json.num_channels()).any(|c| !json.channel_names.contains_key(&c.to_string())) {
        let keys: Vec<_> = json.channel_names.keys().map(|key| format!("{key:?}")).collect();
        report.add(json.path(), Problem::ChannelNames { found: keys.join(", ") });
    }
    let labels = match LabelManager::new(json) {
        Err(error) => {
            report.add(json.path(), Problem::Dataset(error));
            None
        }
        Ok(manager) => {
            let values: Vec<i32> = manager.declared();
            if values.iter().zip(0..).any(|(value, place)| *value != place) {
                report.add(json.path(), Problem::LabelGaps { found: values.clone() });
            }
            Some(values)
        }
    };
    let found = found_training_cases(folder, json, &Silent);
    let example = found.as_ref().ok().and_then(|cases| cases.first()?.images.first());
    let reader = match ImageReader::for_example(formats, json, example.map(PathBuf::as_path)) {
        Ok(reader) => Some(reader),
        Err(error) => {
            report.add(json.path(), Problem::Dataset(error));
            None
        }
    };
    let cases = match found {
        Ok(cases) => cases,
        Err(error) => {
            report.add(folder, Problem::Dataset(error));
            return;
        }
    };
    report.cases = cases.len();
    match json.num_training {
        None => report.add(json.path(), Problem::NumTrainingMissing { found: cases.len() }),
        Some(stated) if stated != cases.len() => {
            report.add(json.path(), Problem::NumTraining { stated, found: cases.len() });
        }
        Some(_) => {}
    }
    check_patients(folder, &cases, report);
    check_annotated_cases(json, &cases, report);
    if json.dataset.is_none() {
        check_strays(folder, json, &cases, report);
    }
    let Some(reader) = reader else { return };

    ctx.event(Event::Started { stage: "verify", total: cases.len() as u64 });
    let done = AtomicU64::new(0);
    let faults: Vec<Option<Vec<Fault>>> = cases
        .par_iter()
        .map(|case| {
            if ctx.is_cancelled() {
                return None;
            }
            let mut check = CaseCheck { case, faults: Vec::new() };
            let run = one_case(|| {
                check.run(json, &reader, labels.as_deref());
                Ok::<_, Panicked>(())
            });
            if let Err(panicked) = run {
                let path = case.images.first().map_or(folder, PathBuf::as_path);
                check.add(path, Problem::Panicked(panicked));
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ctx.event(Event::Advanced { done, detail: &case.identifier });
            Some(check.faults)
        })
        .collect();
    ctx.event(Event::Finished);
    for faults in faults {
        match faults {
            Some(faults) => report.faults.extend(faults),
            None => report.interrupted = true,
        }
    }
    sum_up_missing_spacing_files(&cases, report);
}

/// Makes one row of the missing spacing files of a dataset that has more than a few.
fn sum_up_missing_spacing_files(cases: &[Case], report: &mut Report) {
    fn of(fault: &Fault) -> Option<&ImageWarning> {
        match &fault.problem {
            Problem::Unusual(warning @ ImageWarning::NoSpacingFile { .. }) => Some(warning),
            _ => None,
        }
    }
    let missing: Vec<(&Path, &ImageWarning)> =
        report.faults.iter().filter_map(|fault| Some((fault.path.as_path(), of(fault)?))).collect();
    let files = cases.iter().map(|case| case.images.len() + usize::from(case.label.is_some())).sum();
    if let Some(many) = ManyMissing::instead_of(&missing, files) {
        report.faults.retain(|fault| of(fault).is_none());
        report.add(many.folder.clone(), Problem::MissingSpacingFiles(many));
    }
}

/// Patients, if any are named, must be those of all cases: training stops at others when it makes the folds.
fn check_patients(folder: &Path, cases: &[Case], report: &mut Report) {
    let identifiers: Vec<String> = cases.iter().map(|case| case.identifier.clone()).collect();
    let checked = Patients::load(folder)
        .and_then(|patients| patients.map_or(Ok(()), |patients| patients.groups(&identifiers).map(drop)));
    if let Err(error) = checked {
        report.add(folder, Problem::Dataset(error));
    }
}

/// A misspelt case would count as one in which everything was annotated.
fn check_annotated_cases(json: &DatasetJson, cases: &[Case], report: &mut Report) {
    let named = json.annotated_labels.iter().flat_map(|annotated| annotated.cases.keys());
    let unknown: Vec<&str> = named
        .map(String::as_str)
        .filter(|name| !cases.iter().any(|case| case.identifier == *name))
        .take(Problem::SHOWN_LABELS)
        .collect();
    if !unknown.is_empty() {
        report.add(json.path(), Problem::UnknownAnnotatedCases { found: unknown.join(", ") });
    }
}

/// Files in imagesTr and labelsTr that belong to no case.
fn check_strays(folder: &Path, json: &DatasetJson, cases: &[Case], report: &mut Report) {
    if let Ok(found) = discover(&folder.join("imagesTr"), &json.file_ending) {
        for path in found.without_channel {
            report.add(path, Problem::NoChannelInName);
        }
        for path in found.broken_links {
            report.add(path, Problem::BrokenLink);
        }
        for path in found.not_unicode {
            report.add(path, Problem::NotUnicode);
        }
        for path in found.other_endings {
            let ending = image_ending(&path).unwrap_or_default().to_owned();
            report.add(path, Problem::OtherEnding { found: ending, expected: json.file_ending.clone() });
        }
    }
    let labels = folder.join("labelsTr");
    match files_with_ending(&labels, &json.file_ending) {
        Err(error) => report.add(labels, Problem::Dataset(error)),
        Ok(files) => {
            let known: BTreeSet<&Path> = cases.iter().filter_map(|case| case.label.as_deref()).collect();
            for path in files.into_iter().filter(|path| !known.contains(path.as_path())) {
                report.add(path, Problem::LabelWithoutImage);
            }
        }
    }
}
