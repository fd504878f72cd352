//! Where a training begins: random weights, those of another training, or where an earlier run stopped.

use nnunet_base::hint::Hint;
use nnunet_base::progress::{Event, Progress};
use nnunet_graph::Graph;
use nnunet_graph::backend::TrainingSession;
use nnunet_recipe::{FineTuning, Recipe};

use super::error::TrainError;
use super::pretrained::load_pretrained;
use super::request::Start;
use super::run_folder::RunFolder;
use super::state::{self, Loaded};

/// Puts the starting weights and state into `session`, which trains `graph` as `recipe` says.
pub(super) fn starting_state(
    start: &Start,
    folder: &RunFolder,
    recipe: &Recipe,
    graph: &Graph,
    session: &mut dyn TrainingSession,
    progress: &dyn Progress,
) -> Result<Loaded, TrainError> {
    match start {
        Start::New => {
            if recipe.fine_tuning != FineTuning::default() {
                progress.event(Event::Warning(
                    "the recipe says how to fine-tune, but the training starts from random weights, since no \
                     pretrained weights were given",
                ));
            }
            Ok(Loaded::at_the_beginning())
        }
        Start::Pretrained(path) => {
            load_pretrained(path, graph, session, &recipe.fine_tuning, progress)?;
            Ok(Loaded::at_the_beginning())
        }
        Start::From(path) if !path.is_file() => {
            Err(TrainError::NoCheckpoint { path: path.clone(), hint: Hint::FinishTraining })
        }
        Start::From(path) => state::load(path, graph, session, None),
        Start::Resume => match folder.resumable_checkpoint() {
            Some(path) => {
                let loaded = state::load(&path, graph, session, Some(recipe))?;
                let line = format!("continuing from {}, epoch {}", path.display(), loaded.progress.epoch);
                progress.event(Event::Message(&line));
                Ok(loaded)
            }
            None => {
                let why = match folder.has_outdated_checkpoints() {
                    true => "the training that was started last has saved nothing",
                    false => "no checkpoint to continue from",
                };
                let text = format!("{}: {why}, starting from the beginning", folder.fold().display());
                progress.event(Event::Warning(&text));
                Ok(Loaded::at_the_beginning())
            }
        },
    }
}
