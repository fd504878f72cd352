//! Every value of a training that a trainer decides.

use nnunet_base::parts::Choice;

use crate::built_in::recipes;
use crate::error::UnknownTrainer;
use crate::fine_tuning::FineTuning;
use crate::network::NetworkOverride;

/// Every value of a training that a trainer decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Name of the trainer, e.g. `nnUNetTrainer_5epochs`; part of the results folder's name.
    pub name: String,
    /// The trainer's class for checkpoints, one that Python has: it is looked up there to load the file.
    pub python_class: String,
    /// Number of epochs.
    pub epochs: usize,
    /// Training iterations of an epoch.
    pub iterations_per_epoch: usize,
    /// Validation iterations of an epoch.
    pub validation_iterations: usize,
    /// Patches per iteration; `None` for the plans' number.
    pub batch_size: Option<usize>,
    /// Learning rate that the schedule starts from.
    pub initial_learning_rate: f64,
    /// The learning rate of each epoch.
    pub schedule: Choice,
    /// What changes the parameters along their gradients.
    pub optimiser: Choice,
    /// Largest norm of the gradient of all parameters together.
    pub gradient_norm_limit: f64,
    /// Parameters that learn at a rate of their own, or not at all.
    pub parameter_groups: Vec<GroupRule>,
    /// How pretrained weights are treated that the training starts from.
    pub fine_tuning: FineTuning,
    /// The loss of one output of the network.
    pub loss: Choice,
    /// Whether lower-resolution outputs take part in the loss.
    pub deep_supervision: bool,
    /// Weight of each output in the loss, full resolution first; `None` for the default: halved from output to output, 0
    /// for the last.
    pub deep_supervision_weights: Option<Vec<f64>>,
    /// Transforms of the training patches, and the axes along which patches and predictions are mirrored.
    pub augmentation: Choice,
    /// Which samples of a batch have to show foreground.
    pub sampling: Choice,
    /// What differs from the plans' network.
    pub network: NetworkOverride,
    /// `checkpoint_latest.pth` is written after every so many epochs.
    pub save_every: usize,
    /// It is also written when the last checkpoint is older than this many minutes, within an epoch if need be.
    pub save_minutes: f64,
    /// Decay of the moving average of the weights that is validated and predicts, in place of the trained weights; `None` for no
    /// average.
    pub ema: Option<f64>,
    /// What is recorded of each epoch beside the log.
    pub log: Vec<EpochLog>,
    /// TensorBoard gets a picture of a validation sample each so many epochs; 0 for none.
    pub picture_epochs: usize,
    /// Threads that make batches, which do not depend on their number; `None` for half as many as compute.
    pub loader_threads: Option<usize>,
    /// Which checkpoint the final validation takes.
    pub validated_checkpoint: ValidatedCheckpoint,
    /// Whether the training is there to be timed: no checkpoints and no final validation, but `benchmark_result.json`.
    pub benchmark: bool,
    /// Whether every iteration takes the same random batch instead of cases, to time the network alone.
    pub random_batch: bool,
}

/// Parameters that learn at a rate of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRule {
    /// Beginnings of their names, e.g. `encoder`.
    pub prefixes: Vec<String>,
    /// Factor of the learning rate; 0 freezes them.
    pub rate_factor: f64,
}

/// Records of epochs beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochLog {
    /// An event file of TensorBoard.
    TensorBoard,
    /// `epochs.jsonl`, a JSON object a line.
    JsonLines,
}

impl EpochLog {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::TensorBoard, Self::JsonLines];

    /// What recipes and flags call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::TensorBoard => "tensorboard",
            Self::JsonLines => "jsonl",
        }
    }

    /// The record of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log| log.word() == word)
    }
}

/// Which checkpoint the final validation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidatedCheckpoint {
    /// The weights after the last epoch.
    Final,
    /// Those with the best moving average of the pseudo-Dice.
    Best,
}

impl Recipe {
    /// nnU-Net's defaults.
    pub fn default_trainer() -> Self {
        Self {
            name: "nnUNetTrainer".to_owned(),
            python_class: "nnUNetTrainer".to_owned(),
            epochs: 1000,
            iterations_per_epoch: 250,
            validation_iterations: 50,
            batch_size: None,
            initial_learning_rate: 1e-2,
            schedule: Choice::new("polynomial").with("exponent", 0.9),
            optimiser: Choice::new("sgd")
                .with("momentum", 0.99)
                .with("weight_decay", 3e-5)
                .with("nesterov", true),
            gradient_norm_limit: 12.0,
            parameter_groups: Vec::new(),
            fine_tuning: FineTuning::default(),
            loss: Choice::new("dice_ce"),
            deep_supervision: true,
            deep_supervision_weights: None,
            augmentation: Choice::new("default"),
            sampling: Choice::new("last_of_batch").with("foreground", 0.33),
            network: NetworkOverride::default(),
            save_every: 50,
            save_minutes: 10.0,
            ema: None,
            log: Vec::new(),
            picture_epochs: 10,
            loader_threads: None,
            validated_checkpoint: ValidatedCheckpoint::Final,
            benchmark: false,
            random_batch: false,
        }
    }

    /// The built-in recipe of a trainer's name, also with another number of epochs: `nnUNetTrainerBN_20epochs`. The number is
    /// spelled as the reference spells its own: `nnUNetTrainer_5epoch` would be a folder that no other tool looks for.
    ///
    /// # Errors
    /// [`UnknownTrainer`] with the names that exist, closest first.
    pub fn by_name(name: &str) -> Result<Self, UnknownTrainer> {
        crate::epochs::find(name, &recipes())
    }

    /// The same training with another number of iterations per epoch; validation takes a fifth as many,
    /// at most the default's 50.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations_per_epoch = iterations;
        self.validation_iterations = iterations.div_ceil(5).min(50);
        self
    }
}
