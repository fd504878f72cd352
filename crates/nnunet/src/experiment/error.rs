//! What can be wrong with an experiment.

use std::path::PathBuf;

use nnunet_base::parts::OptionError;
use nnunet_recipe::RecipeError;
use nnunet_train::TrainError;

/// Why an experiment cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: not an experiment: {problem}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        problem: String,
    },
    /// A key that experiments do not have, or a value that it cannot have.
    #[error("{path}: {source}", path = path.display())]
    Option {
        /// The file.
        path: PathBuf,
        /// The key.
        source: OptionError,
    },
    /// A recipe of the experiment.
    #[error("{path}: {name}: {source}", path = path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// `base`, or the variant.
        name: String,
        /// What is wrong with it.
        source: RecipeError,
    },
    /// A recipe of the experiment names a part that does not exist.
    #[error("{path}: {name}: {source}", path = path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// `base`, or the variant.
        name: String,
        /// What is wrong with it.
        source: Box<TrainError>,
    },
    /// A variant says what only the experiment can.
    #[error(
        "{path}: variants.{name}: {key} cannot be set here: a variant is based on the experiment's base and is called like \
         its table",
        path = path.display()
    )]
    Reserved {
        /// The file.
        path: PathBuf,
        /// The variant.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// A training that the experiment does not have.
    #[error("the experiment has no training {name}; it has {known}")]
    UnknownRun {
        /// What was asked for.
        name: String,
        /// The experiment's.
        known: String,
    },
    /// A recipe has the name of a trainer that is another one.
    #[error(
        "{path}: {name:?} is the name of a trainer already, whose results would be mixed with these; choose another name",
        path = path.display()
    )]
    NameTaken {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Results of another training are where those of the experiment belong.
    #[error(
        "{folder}: there are results of another training: {changes}; give the recipe another name, or move the folder away",
        folder = folder.display(),
        changes = changes.join("; ")
    )]
    OtherResults {
        /// The folder of the fold.
        folder: PathBuf,
        /// In what they differ from the experiment's.
        changes: Vec<String>,
    },
}
