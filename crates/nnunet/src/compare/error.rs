//! What can go wrong with a comparison of models.

use nnunet_base::hint::Hint;
use std::path::PathBuf;

use nnunet_assess::evaluate::EvaluateError;
use nnunet_recipe::RecipeError;

/// Why models cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// There is nothing to compare.
    #[error(
        "{folder}: no model here has validation results (TRAINER__PLANS__CONFIGURATION/fold_X/validation/summary.json)",
        folder = folder.display()
    )]
    NoResults {
        /// The dataset's folder of trained models.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// No model is called like the baseline.
    #[error(
        "baseline {asked:?}: no such model{suggestion}; models with results: {known}",
        suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
    )]
    UnknownBaseline {
        /// The name as given.
        asked: String,
        /// The known name that it resembles most, if it does.
        closest: Option<String>,
        /// All models, closest first.
        known: String,
    },
    /// Several models have this trainer, plans or configuration.
    #[error("baseline {asked:?}: several models have it, name one of them in full: {models}")]
    AmbiguousBaseline {
        /// The name as given.
        asked: String,
        /// The models.
        models: String,
    },
    /// The recipe beside the results.
    #[error("{path}: {source}; remove the file to compare with what the trainer's name stands for", path = path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: RecipeError,
    },
    /// A file or folder cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A summary.json that cannot be read.
    #[error(transparent)]
    Summary(#[from] EvaluateError),
}
