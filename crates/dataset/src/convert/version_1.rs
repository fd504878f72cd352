//! Raw datasets of nnU-Net v1: the files stay, dataset.json changes.

use std::path::{Path, PathBuf};

use super::error::ConvertError;
use super::{Step, check_source, copy, entries, make_folder, old_json, run_steps};
use crate::{DatasetName, Folders};
use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_base::hint::Hint;

/// The folders of a dataset. Only the first two must be there.
const PARTS: [&str; 6] = ["imagesTr", "labelsTr", "imagesTs", "labelsTs", "imagesVal", "labelsVal"];

/// Copies the raw dataset of version 1 in `source` (`.../nnUNet_raw_data/Task005_Prostate`) to `nnUNet_raw/name`,
/// with a dataset.json of version 2; returns the new folder. Source: the reference's converter.
///
/// # Errors
/// An incomplete source, a wrong name, a target that is there, an id that another dataset has, files that cannot
/// be copied, all of them named; interrupted.
pub fn convert_version_1(
    source: &Path,
    name: &str,
    folders: &Folders,
    ctx: Ctx<'_>,
) -> Result<PathBuf, ConvertError> {
    check_source(source, &PARTS[..2])?;
    let name = DatasetName::new(name)?;
    let target = folders.raw()?.join(name.as_str());
    if target.exists() {
        return Err(ConvertError::Exists { target });
    }
    let others = folders.datasets_of_id(name.id());
    if !others.is_empty() && folders.find(name.as_str()).is_err() {
        return Err(ConvertError::IdTaken {
            id: name.id(),
            names: others.join("; "),
            hint: Hint::AnotherId { converting_task: false },
        });
    }
    let json = old_json::converted(
        &source.join("dataset.json"),
        &["tensorImageSize", "numTest", "training", "test"],
        ["channel_names", "file_ending"],
    )?;
    let unfinished =
        TemporaryFolder::beside(&target).map_err(|e| ConvertError::io(&target, "create it", e))?;
    let mut steps = Vec::new();
    for part in PARTS {
        if source.join(part).is_dir() {
            plan_copies(&source.join(part), &unfinished.path().join(part), &mut steps)?;
        }
    }
    run_steps(&steps, |step| &step.source, copy, ctx)?;
    old_json::save(&json, unfinished.path())?;
    unfinished.replace(&target).map_err(|e| ConvertError::io(&target, "put it in place", e))?;
    Ok(target)
}

/// Makes the folders below `target` and notes the files to copy.
fn plan_copies(source: &Path, target: &Path, steps: &mut Vec<Step>) -> Result<(), ConvertError> {
    make_folder(target)?;
    for entry in entries(source)? {
        if entry.is_dir() {
            plan_copies(&entry, &target.join(entry.file_name().unwrap_or_default()), steps)?;
        } else {
            steps.push(Step { source: entry, folder: target.to_owned() });
        }
    }
    Ok(())
}
