//! The choice as it was written to inference_information.json, by this program or the reference.

use std::path::{Path, PathBuf};

use super::error::SelectError;
use nnunet_base::hint::Hint;
use nnunet_infer::model::ModelName;
use nnunet_pyformats::json::Json;

/// Name of the file in the folder of a dataset's models.
pub const INFORMATION: &str = "inference_information.json";

/// What new cases are to be predicted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The models: one, or those of an ensemble.
    pub models: Vec<ModelName>,
    /// The folds that were compared.
    pub folds: Vec<u32>,
    /// The postprocessing of the best.
    pub postprocessing: PathBuf,
    /// Plans that describe the predictions.
    pub plans: PathBuf,
}

impl Chosen {
    /// Reads the choice from the folder of a dataset's models.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn load(results: &Path) -> Result<Self, SelectError> {
        let path = results.join(INFORMATION);
        if !path.is_file() {
            return Err(SelectError::NoChoice { path, hint: Hint::FindBest });
        }
        Self::from_json(&Json::load(&path)?).ok_or(SelectError::NoInformation { path, hint: Hint::FindBest })
    }

    fn from_json(document: &Json) -> Option<Self> {
        let best = document.get("best_model_or_ensemble")?;
        let text = |json: &Json, key: &str| json.get(key)?.as_str().map(str::to_owned);
        let model = |json: &Json| {
            Some(ModelName {
                trainer: text(json, "trainer")?,
                plans: text(json, "plans_identifier")?,
                configuration: text(json, "configuration")?,
            })
        };
        let models: Vec<ModelName> =
            best.get("selected_model_or_models")?.as_array()?.iter().map(model).collect::<Option<_>>()?;
        let folds = document.get("folds")?.as_array()?.iter().map(|fold| fold.as_i64()?.try_into().ok());
        (!models.is_empty()).then_some(())?;
        Some(Self {
            models,
            folds: folds.collect::<Option<_>>()?,
            postprocessing: text(best, "postprocessing_file")?.into(),
            plans: text(best, "some_plans_file")?.into(),
        })
    }
}
