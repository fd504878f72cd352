//! Tasks of the Medical Segmentation Decathlon, whose channels are volumes of one file.

use std::path::{Path, PathBuf};

use nnunet_image_io::nifti;

use super::error::ConvertError;
use super::{Step, check_source, copy, entries, make_folder, old_json, run_steps};
use crate::{DatasetName, Folders};
use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_base::hint::Hint;

const ENDING: &str = ".nii.gz";

/// Converts the task in `source` (a folder named like `Task05_Prostate`) into `nnUNet_raw/Dataset005_Prostate`, or
/// a dataset of another `id`; returns the new folder.
///
/// Images of four dimensions are split into a file for each channel (voxels keep their type and scaling), those of
/// three are copied, as are the labels. Source: the reference's converter. Unlike it, a source without imagesTs is
/// taken, and the name may have further underscores.
///
/// # Errors
/// An incomplete source, a wrong name, an id that is taken in one of the three folders, files that cannot be
/// converted, all of them named; interrupted.
pub fn convert_msd(
    source: &Path,
    id: Option<u32>,
    folders: &Folders,
    ctx: Ctx<'_>,
) -> Result<PathBuf, ConvertError> {
    check_source(source, &["imagesTr", "labelsTr"])?;
    let (task, name) = task_of(source)?;
    let target = DatasetName::new(&format!("Dataset{:03}_{name}", id.unwrap_or(task)))?;
    let taken = folders.datasets_of_id(target.id());
    if !taken.is_empty() {
        return Err(ConvertError::IdTaken {
            id: target.id(),
            names: taken.join("; "),
            hint: Hint::AnotherId { converting_task: true },
        });
    }
    let json = old_json::converted(
        &source.join("dataset.json"),
        &["training", "test"],
        ["file_ending", "channel_names"],
    )?;
    let target = folders.raw()?.join(target);
    let unfinished =
        TemporaryFolder::beside(&target).map_err(|e| ConvertError::io(&target, "create it", e))?;
    let mut steps = Vec::new();
    for part in ["imagesTr", "imagesTs", "labelsTr"] {
        let folder = unfinished.path().join(part);
        make_folder(&folder)?;
        if source.join(part).is_dir() {
            for source in entries(&source.join(part))? {
                if is_image(&source) {
                    steps.push(Step { source, folder: folder.clone() });
                }
            }
        }
    }
    let labels = unfinished.path().join("labelsTr");
    let convert = |step: &Step| if step.folder == labels { copy(step) } else { split(step) };
    run_steps(&steps, |step| &step.source, convert, ctx)?;
    old_json::save(&json, unfinished.path())?;
    unfinished.replace(&target).map_err(|e| ConvertError::io(&target, "put it in place", e))?;
    Ok(target)
}

/// The number and the name in `Task05_Prostate`.
fn task_of(source: &Path) -> Result<(u32, String), ConvertError> {
    let parts = || {
        let folder = std::path::absolute(source).ok()?;
        let (task, name) = folder.file_name()?.to_str()?.strip_prefix("Task")?.split_once('_')?;
        Some((task.parse().ok()?, name.to_owned()))
    };
    parts().ok_or_else(|| ConvertError::TaskName { folder: source.to_owned() })
}

/// The Decathlon's archives have files of macOS beside the images, whose names begin with `._`.
fn is_image(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(ENDING) && !name.starts_with(['.', '_']) && path.is_file()
}

/// Writes each channel of an image to a file of its own.
fn split(step: &Step) -> Result<(), ConvertError> {
    let name = step.source.file_name().unwrap_or_default().to_string_lossy();
    let case = name.strip_suffix(ENDING).unwrap_or(&name);
    let channel = |i: usize| step.folder.join(format!("{case}_{i:04}{ENDING}"));
    if nifti::number_of_volumes(&step.source)? == 1 {
        std::fs::copy(&step.source, channel(0)).map_err(|e| ConvertError::io(&step.source, "copy it", e))?;
    } else {
        nifti::split_volumes(&step.source, channel)?;
    }
    Ok(())
}
