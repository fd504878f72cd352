//! The state of a training as a checkpoint that the reference reads too, and back.
//!
//! A training may be saved in the middle of an epoch. What the reference has no key for (the losses so far and the counts of
//! the validation batches) goes under `nnunet_interrupted`, which Python ignores: it repeats the epoch, this program goes on
//! where it stopped, with the very batches that would have come.

use std::path::Path;

use nnunet_checkpoint::{Checkpoint, CheckpointError, SavedOptimiser, StateDict};
use nnunet_graph::backend::{GradientScale, Snapshot, TrainingSession};
use nnunet_graph::loss::OverlapCounts;
use nnunet_graph::optimiser::OptimiserSpec;
use nnunet_graph::{Graph, Parameters};
use nnunet_pyformats::pickle::{Dict, Value};
use nnunet_recipe::Recipe;

use super::error::TrainError;
use super::history::History;

/// Key of the state within an epoch.
const INTERRUPTED: &str = "nnunet_interrupted";

/// How far a training is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Progress {
    /// Epochs that are complete.
    pub epoch: usize,
    /// Losses of the iterations of the current epoch that are done.
    pub epoch_losses: Vec<f64>,
    /// What the validation batches of the current epoch came to so far.
    pub evaluation: Evaluation,
    /// The curves.
    pub history: History,
    /// Best moving average of the pseudo-Dice so far.
    pub best_ema: Option<f64>,
}

/// What the validation batches of an epoch came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Evaluation {
    /// Loss of each batch.
    pub losses: Vec<f64>,
    /// Counts over all batches, by foreground class or region.
    pub overlap: Vec<OverlapCounts>,
}

/// What a checkpoint states beside the weights.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// What the trainer decides.
    pub recipe: Recipe,
    /// Arguments of the trainer's constructor in the reference.
    pub init_args: Value,
    /// Axes of the patch along which predictions may be mirrored.
    pub mirroring_axes: Option<Vec<usize>>,
}

/// The rates that the optimiser's part of a checkpoint states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// Of the present epoch.
    pub current: f64,
    /// Of the first epoch.
    pub initial: f64,
}

/// What a checkpoint holds.
pub(super) struct Loaded {
    /// How far the training is.
    pub progress: Progress,
    /// The average of the weights, if there is one.
    pub average: Option<Parameters>,
}

impl Loaded {
    /// A training without a checkpoint.
    pub(super) fn at_the_beginning() -> Self {
        Self { progress: Progress::default(), average: None }
    }
}

/// Writes the state to `path`, replacing it whole: `snapshot` of the training of `graph` by `optimiser`, the `average` of the
/// weights if there is one, and how far the training is.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(
    path: &Path,
    graph: &Graph,
    snapshot: Snapshot,
    average: Option<Parameters>,
    optimiser: &OptimiserSpec,
    rates: Rates,
    scale: Option<GradientScale>,
    progress: &Progress,
    identity: &Identity,
) -> Result<(), CheckpointError> {
    let trained = StateDict::from_parameters(graph, snapshot.parameters);
    let (weights, trained) = match average {
        Some(average) => (StateDict::from_parameters(graph, average), Some(trained)),
        None => (trained, None),
    };
    let mut checkpoint = Checkpoint::new(weights, &identity.recipe.python_class, identity.init_args.clone());
    checkpoint.trained_weights = trained;
    checkpoint.optimiser = Some(SavedOptimiser::new(
        optimiser,
        rates.current,
        rates.initial,
        graph.parameters().len(),
        snapshot.optimiser.unwrap_or_default(),
    ));
    checkpoint.grad_scaler = scale.map_or(Value::None, scale_value);
    checkpoint.logging = history_value(&progress.history).into();
    checkpoint.best_ema = progress.best_ema;
    checkpoint.current_epoch = progress.epoch;
    checkpoint.mirroring_axes = identity.mirroring_axes.clone();
    if !progress.epoch_losses.is_empty() {
        checkpoint.other.insert(INTERRUPTED, within_epoch(progress));
    }
    checkpoint.other.insert(Recipe::CHECKPOINT_KEY, identity.recipe.to_toml());
    checkpoint.write(path)
}

/// Puts the state of `path` into `session`, which trains `graph`, and says how far it is and what the average of the weights is. To go on from there, the
/// training has to be the one that `recipe` describes.
///
/// # Errors
/// A checkpoint that cannot be read, belongs to another network or another training, or lacks the optimiser or the curves.
pub(super) fn load(
    path: &Path,
    graph: &Graph,
    session: &mut dyn TrainingSession,
    recipe: Option<&Recipe>,
) -> Result<Loaded, TrainError> {
    let mut checkpoint = Checkpoint::read(path)?;
    if let Some(recipe) = recipe {
        check_recipe(path, &checkpoint, recipe)?;
    }
    let problem = |problem: String| TrainError::Resume { path: path.to_owned(), problem };
    let optimiser = checkpoint.optimiser.take().ok_or_else(|| {
        problem("has no optimiser state: it is for inference only; start a new training, which may begin with its weights".to_owned())
    })?;
    let weights = checkpoint.weights.into_parameters(graph)?;
    let (parameters, average) = match checkpoint.trained_weights.take() {
        Some(trained) => (trained.into_parameters(graph)?, Some(weights)),
        None => (weights, None),
    };
    session.import(Snapshot { parameters, optimiser: Some(optimiser.state) })?;
    if let Some(scale) = scale_from(&checkpoint.grad_scaler) {
        session.set_gradient_scale(scale);
    }
    let history = history_from(&checkpoint.logging)
        .ok_or_else(|| problem("the curves of the training (logging) are incomplete".to_owned()))?;
    let epoch = checkpoint.current_epoch;
    if history.complete_epochs() < epoch {
        let curves = history.complete_epochs();
        return Err(problem(format!("{epoch} epochs are done, but the curves have {curves} only")));
    }
    let within = checkpoint.other.get(INTERRUPTED);
    let epoch_losses =
        within.and_then(|within| within.get("losses")).and_then(Value::as_f64s).unwrap_or_default();
    let evaluation = within.and_then(evaluation_from).unwrap_or_default();
    let mut history = history;
    history.truncate(epoch);
    let progress = Progress { epoch, epoch_losses, evaluation, history, best_ema: checkpoint.best_ema };
    Ok(Loaded { progress, average })
}

/// What PyTorch's `GradScaler.state_dict()` holds, with its defaults for what never changes.
fn scale_value(scale: GradientScale) -> Value {
    let mut dict = Dict::new();
    dict.insert("scale", Value::Float(scale.scale));
    dict.insert("growth_factor", Value::Float(2.0));
    dict.insert("backoff_factor", Value::Float(0.5));
    dict.insert("growth_interval", Value::Int(2000));
    dict.insert("_growth_tracker", Value::Int(i64::from(scale.good_steps)));
    dict.into()
}

/// The scale in [`scale_value`]; `None` where there is none, as on the CPU.
fn scale_from(value: &Value) -> Option<GradientScale> {
    let scale = value.get("scale")?.as_f64()?;
    let good_steps = value.get("_growth_tracker").and_then(Value::as_f64).unwrap_or(0.0);
    Some(GradientScale { scale, good_steps: good_steps as u32 })
}

/// The state within an epoch.
fn within_epoch(progress: &Progress) -> Value {
    let counts = |o: &OverlapCounts| {
        let counts = [o.true_positives, o.false_positives, o.false_negatives];
        Value::List(counts.into_iter().map(|count| Value::Int(count.cast_signed())).collect())
    };
    let mut within = Dict::new();
    within.insert("losses", floats(&progress.epoch_losses));
    within.insert("validation_losses", floats(&progress.evaluation.losses));
    within.insert("overlap", Value::List(progress.evaluation.overlap.iter().map(counts).collect()));
    within.into()
}

/// The evaluation in [`within_epoch`]; `None` where the file has none, as earlier versions wrote it.
fn evaluation_from(within: &Value) -> Option<Evaluation> {
    let counts = |value: &Value| {
        let &[true_positives, false_positives, false_negatives] = value.as_usizes()?.as_slice() else {
            return None;
        };
        Some(OverlapCounts {
            true_positives: true_positives as u64,
            false_positives: false_positives as u64,
            false_negatives: false_negatives as u64,
        })
    };
    Some(Evaluation {
        losses: within.get("validation_losses")?.as_f64s()?,
        overlap: within.get("overlap")?.as_sequence()?.iter().map(counts).collect::<Option<_>>()?,
    })
}

/// Checks that the checkpoint is of the same training as `recipe`. Checkpoints of Python do not say.
fn check_recipe(path: &Path, checkpoint: &Checkpoint, recipe: &Recipe) -> Result<(), TrainError> {
    let Some(text) = checkpoint.other.get(Recipe::CHECKPOINT_KEY).and_then(Value::as_str) else {
        return Ok(());
    };
    let found = Recipe::from_full_toml(text, &recipe.name)
        .map_err(|source| TrainError::Recipe { path: path.to_owned(), source })?;
    match found.differences(recipe) {
        differences if differences.is_empty() => Ok(()),
        differences => Err(TrainError::OtherTraining { path: path.to_owned(), differences }),
    }
}

fn floats(values: &[f64]) -> Value {
    Value::List(values.iter().map(|&v| Value::Float(v)).collect())
}

/// The curves under the keys of the reference.
fn history_value(history: &History) -> Dict {
    let mut dict = Dict::new();
    dict.insert("mean_fg_dice", floats(&history.mean_fg_dice));
    dict.insert("ema_fg_dice", floats(&history.ema_fg_dice));
    let per_class = history.dice_per_class_or_region.iter().map(|classes| floats(classes)).collect();
    dict.insert("dice_per_class_or_region", Value::List(per_class));
    dict.insert("train_losses", floats(&history.train_losses));
    dict.insert("val_losses", floats(&history.val_losses));
    dict.insert("lrs", floats(&history.lrs));
    dict.insert("epoch_start_timestamps", floats(&history.epoch_start_timestamps));
    dict.insert("epoch_end_timestamps", floats(&history.epoch_end_timestamps));
    dict
}

fn history_from(logging: &Value) -> Option<History> {
    let list = |key: &str| logging.get(key)?.as_f64s();
    let per_class = logging.get("dice_per_class_or_region")?.as_sequence()?;
    Some(History {
        mean_fg_dice: list("mean_fg_dice")?,
        ema_fg_dice: list("ema_fg_dice")?,
        dice_per_class_or_region: per_class.iter().map(Value::as_f64s).collect::<Option<_>>()?,
        train_losses: list("train_losses")?,
        val_losses: list("val_losses")?,
        lrs: list("lrs")?,
        epoch_start_timestamps: list("epoch_start_timestamps")?,
        epoch_end_timestamps: list("epoch_end_timestamps")?,
    })
}

impl History {
    /// The curves in a checkpoint, ours or the reference's.
    ///
    /// # Errors
    /// A file that is no checkpoint, or one without all of the curves.
    pub fn of_checkpoint(path: &Path) -> Result<Self, TrainError> {
        let checkpoint = Checkpoint::read_for_inference(path)?;
        history_from(&checkpoint.logging).ok_or_else(|| TrainError::NoCurves { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_within_an_epoch_survives_the_checkpoint() {
        let counts = OverlapCounts { true_positives: 5_000_000_000, false_positives: 0, false_negatives: 7 };
        let evaluation = Evaluation { losses: vec![-0.25], overlap: vec![counts, OverlapCounts::default()] };
        let progress = Progress { epoch_losses: vec![0.5], evaluation, ..Progress::default() };
        assert_eq!(evaluation_from(&within_epoch(&progress)), Some(progress.evaluation));
        let mut earlier = Dict::new();
        earlier.insert("losses", floats(&[0.5]));
        assert_eq!(evaluation_from(&earlier.into()), None);
    }

    #[test]
    fn curves_survive_the_checkpoint() {
        let mut history = History::default();
        for epoch in 0..3 {
            history.push_for_test(epoch);
        }
        assert_eq!(history_from(&history_value(&history).into()), Some(history));
        assert_eq!(history_from(&Dict::new().into()), None);
    }
}
