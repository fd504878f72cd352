//! Progress as typed events and cancellation as a flag: long stages take both, and never print.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

/// Somebody asked to stop. Each stage has an error of its own that says what became of its work and has this one as
/// its source, so that it is found whatever is wrapped around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupted {
    /// Whether it is `error` or one of its sources.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// A request to stop, shared between the program and the stages. Stages look at it between units
/// of work, save what they have and return their error for [`Interrupted`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the running stage to stop at the next safe point.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One step of a long job, for a bar, a log line or a JSON record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins; `total` units of work are expected.
    Started {
        /// Name of the stage, e.g. `preprocess 3d_fullres`.
        stage: &'a str,
        /// Units of work (cases, tiles, iterations).
        total: u64,
    },
    /// `done` of the stage's units are finished.
    Advanced {
        /// Units finished so far.
        done: u64,
        /// What was just finished, e.g. a case identifier or a line on losses.
        detail: &'a str,
    },
    /// An epoch of a training is complete.
    EpochFinished(&'a EpochReport),
    /// The stage ended.
    Finished,
    /// Something worth a line in the log.
    Message(&'a str),
    /// Something the user should look at, though the run goes on.
    Warning(&'a str),
}

/// Numbers of an epoch that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Mean loss of the training batches.
    pub train_loss: f64,
    /// Mean loss of the validation batches.
    pub validation_loss: f64,
    /// Pseudo-Dice of each foreground class or region; not a number where it neither occurred nor was predicted.
    pub pseudo_dice: Vec<f64>,
    /// Moving average of the mean pseudo-Dice.
    pub moving_average: f64,
    /// Whether the moving average is the best so far.
    pub is_best: bool,
    /// Learning rate.
    pub learning_rate: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Share of the duration, from 0 to 1, that was spent waiting for batches.
    pub waiting: f64,
}

impl EpochReport {
    /// The numbers by their names, as records of progress and of epochs have them. Those that are not finite are null.
    pub fn to_json(&self) -> Map<String, Value> {
        let entries: [(&str, Value); 9] = [
            ("epoch", self.epoch.into()),
            ("train_loss", self.train_loss.into()),
            ("validation_loss", self.validation_loss.into()),
            ("pseudo_dice", self.pseudo_dice.clone().into()),
            ("moving_average", self.moving_average.into()),
            ("is_best", self.is_best.into()),
            ("learning_rate", self.learning_rate.into()),
            ("seconds", self.seconds.into()),
            ("waiting", self.waiting.into()),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Receives events; called from several threads.
pub trait Progress: Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Stage {
        #[error("stopped after {0} cases")]
        Stopped(u32, #[source] Interrupted),
        #[error("interrupted_study/a.nii.gz: damaged")]
        Damaged,
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Outer(#[from] Stage);

    #[test]
    fn an_interruption_is_known_by_its_type_through_every_wrapper() {
        assert!(Interrupted::caused(&Interrupted));
        assert!(Interrupted::caused(&Outer(Stage::Stopped(2, Interrupted))));
        assert!(!Interrupted::caused(&Outer(Stage::Damaged)));
    }
}
