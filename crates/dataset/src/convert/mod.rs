//! Datasets of other layouts turned into raw datasets of nnU-Net v2.
//!
//! A dataset is put together under a temporary name and renamed when it is complete: a conversion that fails, is
//! interrupted or killed leaves no dataset behind.

mod error;
mod merge;
mod msd;
mod old_json;
mod version_1;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use error::ConvertError;
pub use merge::{MergeSource, merge_datasets};
pub use msd::convert_msd;
pub use version_1::convert_version_1;

use nnunet_base::Ctx;
use nnunet_base::progress::{Event, Interrupted};

/// What is done with one file of the source.
struct Step {
    source: PathBuf,
    /// The folder it goes to.
    folder: PathBuf,
}

/// Runs `work` for every step, several at once. All files that fail are named.
fn run_steps<S: Sync>(
    steps: &[S],
    source: impl Fn(&S) -> &Path + Sync,
    work: impl Fn(&S) -> Result<(), ConvertError> + Sync,
    ctx: Ctx<'_>,
) -> Result<(), ConvertError> {
    ctx.event(Event::Started { stage: "convert", total: steps.len() as u64 });
    let done = std::sync::atomic::AtomicU64::new(0);
    let faults: Vec<Option<String>> = steps
        .par_iter()
        .map(|step| {
            if ctx.is_cancelled() {
                return None;
            }
            let result = work(step);
            let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            let name = source(step).file_name().unwrap_or_default().to_string_lossy();
            ctx.event(Event::Advanced { done, detail: &name });
            result.err().map(|fault| fault.to_string())
        })
        .collect();
    ctx.event(Event::Finished);
    if ctx.is_cancelled() {
        return Err(Interrupted.into());
    }
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    if faults.is_empty() { Ok(()) } else { Err(ConvertError::Files { faults, total: steps.len() }) }
}

/// Copies the file of a step.
fn copy(step: &Step) -> Result<(), ConvertError> {
    let target = step.folder.join(step.source.file_name().unwrap_or_default());
    std::fs::copy(&step.source, target).map_err(|e| ConvertError::io(&step.source, "copy it", e))?;
    Ok(())
}

/// The entries of a folder, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ConvertError> {
    let failed = |e| ConvertError::io(folder, "list it", e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// Makes a folder with its parents.
fn make_folder(folder: &Path) -> Result<(), ConvertError> {
    std::fs::create_dir_all(folder).map_err(|e| ConvertError::io(folder, "create it", e))
}

/// Refuses a source without one of the folders or without its dataset.json.
fn check_source(source: &Path, folders: &[&str]) -> Result<(), ConvertError> {
    let missing: Vec<&str> = folders
        .iter()
        .copied()
        .filter(|name| !source.join(name).is_dir())
        .chain((!source.join("dataset.json").is_file()).then_some("dataset.json"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConvertError::Incomplete { folder: source.to_owned(), missing: missing.join(", ") })
}
