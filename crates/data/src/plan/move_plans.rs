//! Plans of one dataset for another: a network trained on the first can be trained further on the second.
//!
//! What changes is what names the dataset and its files: `dataset_name`, `plans_name`, `image_reader_writer`, and the
//! folder of the preprocessed data where the plans get another name. Everything else stays, normalisation and intensities
//! of the first dataset included. Source: the reference's behaviour, exact.

use std::path::{Path, PathBuf};

use super::in_use::lock_cases;
use super::plans_json::Plans;
use super::run::reader_name;
use crate::parts::Parts;
use crate::planner::{PlanError, check_plans_name};
use nnunet_dataset::DatasetJson;
use nnunet_pyformats::json::Json;

/// Which plans go where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveRequest<'a> {
    /// Folder of the preprocessed data of the dataset that has the plans.
    pub source: &'a Path,
    /// Name of the plans there.
    pub source_plans: &'a str,
    /// Name of the other dataset, e.g. `Dataset004_Hippocampus`.
    pub target_name: &'a str,
    /// Its raw folder.
    pub target_raw: &'a Path,
    /// The folder of its preprocessed data; made if it does not exist.
    pub target: &'a Path,
    /// Name of the plans there; the same if absent.
    pub target_plans: Option<&'a str>,
}

/// Writes the plans for the other dataset and returns the path of the file.
///
/// # Errors
/// Plans, dataset.json or images that cannot be read; a name that cannot be a file's; other plans than those that a training
/// or preprocessing of the dataset uses just now.
pub fn move_plans(request: &MoveRequest<'_>, parts: &Parts) -> Result<PathBuf, PlanError> {
    let path = request.source.join(format!("{}.json", request.source_plans));
    if !path.exists() {
        return Err(PlanError::Missing {
            path,
            remedy: "plan the dataset whose plans are to be moved first",
        });
    }
    let name = request.target_plans.unwrap_or(request.source_plans);
    check_plans_name(name)?;
    let mut document = Plans::read(&path)?.document().clone();
    let dataset = DatasetJson::load(&request.target_raw.join("dataset.json"))?;
    let reader = reader_name(request.target_raw, &dataset, parts)?;
    document.insert("dataset_name".to_owned(), request.target_name.into());
    document.insert("image_reader_writer".to_owned(), reader.into());
    document.insert("plans_name".to_owned(), name.into());
    if name != request.source_plans
        && let Some(Json::Object(configurations)) = document.get_mut("configurations")
    {
        for configuration in configurations.values_mut() {
            if let Json::Object(entries) = configuration
                && let Some(Json::String(folder)) = entries.get_mut("data_identifier")
            {
                *folder = match folder.strip_prefix(request.source_plans) {
                    Some(rest) => format!("{name}{rest}"),
                    None => format!("{name}_{folder}"),
                };
            }
        }
    }
    let target = request.target.join(format!("{name}.json"));
    let plans = Plans::from_json(Json::Object(document), &target.display().to_string())?;
    let _locks = lock_cases(request.target, &target, &plans)?;
    plans.write(&target)?;
    Ok(target)
}
