//! The trainings of an experiment, and how far each is.

use std::path::Path;

use nnunet_dataset::DatasetName;
use nnunet_dataset::splits::Fold;
use nnunet_recipe::Recipe;
use nnunet_train::RunFolder;

use super::error::ExperimentError;
use super::file::Experiment;
use crate::compare::changes;
use crate::registry::Registry;

/// One training of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRun {
    /// Its recipe.
    pub recipe: Recipe,
    /// Its configuration.
    pub configuration: String,
    /// Its fold.
    pub fold: u32,
    /// Where its results are or will be.
    pub folder: RunFolder,
    /// How far it is.
    pub state: RunState,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Nothing is there that it could go on from.
    New,
    /// It was interrupted and goes on from its last checkpoint.
    Interrupted,
    /// It is complete but for the validation.
    Trained,
    /// It is complete.
    Done,
}

impl RunState {
    /// What is to be done, in a word: `train`, `resume`, `validate` or `done`.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "train",
            Self::Interrupted => "resume",
            Self::Trained => "validate",
            Self::Done => "done",
        }
    }
}

impl ExperimentRun {
    /// What names it among the runs of its experiment: `RECIPE/CONFIGURATION/FOLD`.
    pub fn address(&self) -> String {
        format!("{}/{}/{}", self.recipe.name, self.configuration, self.fold)
    }
}

impl std::fmt::Display for ExperimentRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} fold {}", self.recipe.name, self.configuration, self.fold)
    }
}

/// The trainings in the order in which they are to run: configuration by configuration, so that a cascade finds its
/// previous stage, and fold by fold, so that all recipes can be compared early.
///
/// # Errors
/// Results of other trainings in their folders.
pub(crate) fn runs(
    experiment: &Experiment,
    dataset: &DatasetName,
    results: &Path,
    registry: &Registry,
) -> Result<Vec<ExperimentRun>, ExperimentError> {
    let mut runs = Vec::new();
    for configuration in &experiment.configurations {
        for &fold in &experiment.folds {
            for recipe in &experiment.recipes {
                let folder = RunFolder::new(
                    results,
                    dataset.as_str(),
                    &recipe.name,
                    &experiment.plans,
                    configuration,
                    Fold::Number(fold),
                );
                let state = state(&folder);
                if state != RunState::New {
                    check_same(experiment, recipe, &folder, registry)?;
                }
                runs.push(ExperimentRun {
                    recipe: recipe.clone(),
                    configuration: configuration.clone(),
                    fold,
                    folder,
                    state,
                });
            }
        }
    }
    Ok(runs)
}

fn state(folder: &RunFolder) -> RunState {
    match folder.resumable_checkpoint() {
        None => RunState::New,
        Some(checkpoint) if checkpoint != folder.final_checkpoint() => RunState::Interrupted,
        Some(_) if folder.validation().join("summary.json").is_file() => RunState::Done,
        Some(_) => RunState::Trained,
    }
}

/// Checks that what is in `folder` is a training of `recipe`. Trainings of the reference do not say.
fn check_same(
    experiment: &Experiment,
    recipe: &Recipe,
    folder: &RunFolder,
    registry: &Registry,
) -> Result<(), ExperimentError> {
    let path = folder.fold().join("recipe.toml");
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| ExperimentError::Io { path: path.clone(), source })?,
    };
    let there = Recipe::from_toml(&text, &recipe.name, &registry.recipes).map_err(|source| {
        ExperimentError::Recipe { path: path.clone(), name: "recipe of earlier results".to_owned(), source }
    })?;
    let part = |source| ExperimentError::Part {
        path: experiment.path.clone(),
        name: recipe.name.clone(),
        source: Box::new(source),
    };
    let changes = changes(&there, &registry.train.in_full(recipe).map_err(part)?);
    match changes.is_empty() {
        true => Ok(()),
        false => Err(ExperimentError::OtherResults { folder: folder.fold().to_owned(), changes }),
    }
}
