//! Ensembles of prediction folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::EnsembleError;
use super::merge::{MergeJob, Merger};
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::workers::Workers;
use nnunet_data::Parts;
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::cases::files_with_ending;

/// Averages the probabilities of the same cases in `folders` and writes the segmentations to `output`, with
/// the dataset.json and plans.json of the first folder. Returns the number of cases. `parts` has the image formats and label managers.
///
/// # Errors
/// Folders without probabilities or with different cases; a case that does not fit into the memory; what [`Merger::merge_all`] reports.
pub fn ensemble_folders(
    folders: &[PathBuf],
    output: &Path,
    save_probabilities: bool,
    parts: &Parts,
    ctx: Ctx<'_>,
) -> Result<usize, EnsembleError> {
    let Some(first) = folders.first() else { return Ok(0) };
    let cases =
        folders.iter().map(|folder| cases_with_probabilities(folder)).collect::<Result<Vec<_>, _>>()?;
    let all: BTreeSet<&String> = cases.iter().flatten().collect();
    for (folder, cases) in folders.iter().zip(&cases) {
        check_complete(folder, &cases.iter().collect(), &all)?;
    }
    let jobs: Vec<MergeJob> = all
        .into_iter()
        .map(|case| MergeJob {
            identifier: case.clone(),
            probabilities: folders.iter().map(|folder| folder.join(format!("{case}.npz"))).collect(),
        })
        .collect();
    let member = PredictionFolder::open(first, None, None, parts)?;
    let io = |source| EnsembleError::Io { path: output.to_owned(), source };
    let merger = Merger {
        labels: &member.labels,
        reader: &member.reader,
        file_ending: &member.dataset.file_ending,
        output,
        save_probabilities,
    };
    let workers = Workers::plan(&merger.needs(&jobs), None, ctx)?;
    std::fs::create_dir_all(output).map_err(io)?;
    member.write_companions(output).map_err(io)?;
    merger.merge_all(&jobs, &workers, ctx)?;
    Ok(jobs.len())
}

/// The cases of a folder that have probabilities; none is an error.
fn cases_with_probabilities(folder: &Path) -> Result<BTreeSet<String>, EnsembleError> {
    let cases: BTreeSet<String> = files_with_ending(folder, ".npz")?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    if cases.is_empty() {
        return Err(EnsembleError::NoProbabilities {
            folder: folder.to_owned(),
            hint: Hint::SaveProbabilities,
        });
    }
    Ok(cases)
}

/// Checks that a member has every case.
pub fn check_complete(
    folder: &Path,
    cases: &BTreeSet<&String>,
    all: &BTreeSet<&String>,
) -> Result<(), EnsembleError> {
    let missing: Vec<&str> = all.difference(cases).map(|case| case.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(EnsembleError::MissingCases {
        folder: folder.to_owned(),
        count: missing.len(),
        total: all.len(),
        names: missing[..missing.len().min(10)].join(", "),
        hint: Hint::PredictMissingCases,
    })
}
