//! Where a training begins: random weights, those of another training, or where an earlier run stopped.

use nnunet_base::hint::Hint;
use nnunet_base::progress::{Event, Progress};
use nnunet_graph::Graph;
use nnunet_graph::backend::TrainingSession;
use nnunet_recipe::Recipe;

use super::error::TrainError;
use super::request::Start;
use super::run_folder::RunFolder;
use super::state;

/// Puts the starting weights and state into `session`, which trains `graph` as `recipe` says.
pub(super) fn starting_state(
    start: &Start,
    folder: &RunFolder,
    recipe: &Recipe,
    graph: &Graph,
    session: &mut dyn TrainingSession,
    progress: &dyn Progress,
) -> Result<state::Progress, TrainError> {
    match start {
        Start::New => Ok(state::Progress::default()),
        Start::Pretrained(path) => {
            state::load_pretrained(path, graph, session)?;
            Ok(state::Progress::default())
        }
        Start::From(path) if !path.is_file() => {
            Err(TrainError::NoCheckpoint { path: path.clone(), hint: Hint::FinishTraining })
        }
        Start::From(path) => state::load(path, graph, session, None),
        Start::Resume => match folder.resumable_checkpoint() {
            Some(path) => {
                let state = state::load(&path, graph, session, Some(recipe))?;
                let line = format!("continuing from {}, epoch {}", path.display(), state.epoch);
                progress.event(Event::Message(&line));
                Ok(state)
            }
            None => {
                let why = match folder.has_outdated_checkpoints() {
                    true => "the training that was started last has saved nothing",
                    false => "no checkpoint to continue from",
                };
                let text = format!("{}: {why}, starting from the beginning", folder.fold().display());
                progress.event(Event::Warning(&text));
                Ok(state::Progress::default())
            }
        },
    }
}
