//! From the names in a recipe to the parts of a training.

use std::sync::Arc;

use nnunet_base::parts::{Choice, Named, OptionError, Options};
use nnunet_graph::loss::{LossBuilder, LossFacts, LossSpec, losses};
use nnunet_graph::optimiser::{OptimiserBuilder, OptimiserSpec, optimisers};
use nnunet_graph::schedule::{Schedule, ScheduleBuilder, schedules};
use nnunet_recipe::Recipe;

use super::error::TrainError;
use super::sampling::{Sampling, SamplingBuilder, samplings};
use nnunet_augment::{
    AugmentationList, AugmentationPolicy, ConfigurationFacts, TransformBuilder, lists, transforms,
};

/// The parts that recipes can name. The default has the built-in ones; a caller may register more.
#[derive(Clone)]
pub struct Parts {
    /// Losses of one output.
    pub losses: Named<LossBuilder>,
    /// Optimisers.
    pub optimisers: Named<OptimiserBuilder>,
    /// Learning-rate schedules.
    pub schedules: Named<ScheduleBuilder>,
    /// Augmentations: lists of transforms with crops and mirroring.
    pub augmentations: Named<AugmentationList>,
    /// Transforms that augmentations consist of.
    pub transforms: Named<TransformBuilder>,
    /// Which samples of a batch have to show foreground.
    pub samplings: Named<SamplingBuilder>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            losses: losses(),
            optimisers: optimisers(),
            schedules: schedules(),
            augmentations: lists(),
            transforms: transforms(),
            samplings: samplings(),
        }
    }
}

impl Parts {
    /// The loss over all outputs of the network.
    ///
    /// # Errors
    /// A name that is not known, options that the loss does not have, and weights of other outputs.
    pub fn loss(&self, recipe: &Recipe, facts: &LossFacts) -> Result<LossSpec, TrainError> {
        let build = self.losses.get(&recipe.loss.kind)?;
        let mut loss = built("loss", &recipe.loss, |options| build(options, facts))?;
        if let Some(given) = &recipe.deep_supervision_weights {
            let outputs = facts.outputs;
            let fit =
                given.len() == outputs && given.iter().all(|w| *w >= 0.0) && given.iter().any(|w| *w > 0.0);
            match &mut loss {
                LossSpec::DeepSupervision { weights, .. } | LossSpec::PartlyLabelled { weights, .. }
                    if fit =>
                {
                    weights.clone_from(given);
                }
                _ => return Err(TrainError::DeepSupervisionWeights { found: given.clone(), outputs }),
            }
        }
        Ok(loss)
    }

    /// The optimiser.
    ///
    /// # Errors
    /// A name that is not known, and options that the part does not have.
    pub fn optimiser(&self, recipe: &Recipe) -> Result<OptimiserSpec, TrainError> {
        let build = self.optimisers.get(&recipe.optimiser.kind)?;
        built("optimiser", &recipe.optimiser, |options| build(options))
    }

    /// The learning rate of each epoch.
    ///
    /// # Errors
    /// A name that is not known, and options that the part does not have.
    pub fn schedule(&self, recipe: &Recipe) -> Result<Arc<dyn Schedule>, TrainError> {
        let build = self.schedules.get(&recipe.schedule.kind)?;
        let (initial, epochs) = (recipe.initial_learning_rate, recipe.epochs);
        built("schedule", &recipe.schedule, |options| build(options, initial, epochs))
    }

    /// Which samples of a batch have to show foreground.
    ///
    /// # Errors
    /// A name that is not known, and options that the part does not have.
    pub fn sampling(&self, recipe: &Recipe) -> Result<Arc<dyn Sampling>, TrainError> {
        let build = self.samplings.get(&recipe.sampling.kind)?;
        built("sampling", &recipe.sampling, |options| build(options))
    }

    /// The augmentation for a configuration.
    ///
    /// # Errors
    /// A name that is not known, and options that the part does not have.
    pub fn augmentation(
        &self,
        recipe: &Recipe,
        facts: &ConfigurationFacts,
    ) -> Result<AugmentationPolicy, TrainError> {
        let list = AugmentationList::choose(&recipe.augmentation, &self.augmentations)?;
        Ok(AugmentationPolicy::new(&list, facts, &self.transforms)?)
    }

    /// The recipe with its augmentation spelled out transform by transform, so that it can be repeated whatever becomes of
    /// the list: as it is written beside the results.
    ///
    /// # Errors
    /// An augmentation that is not known.
    pub fn in_full(&self, recipe: &Recipe) -> Result<Recipe, TrainError> {
        let list = AugmentationList::choose(&recipe.augmentation, &self.augmentations)?;
        Ok(Recipe { augmentation: list.to_choice(&recipe.augmentation.kind), ..recipe.clone() })
    }

    /// Checks as much of a recipe as can be without plans and data: that all parts exist that it names, and that optimiser,
    /// schedule and sampling have the options that it gives them.
    ///
    /// # Errors
    /// The first part or option that does not exist.
    pub fn check(&self, recipe: &Recipe) -> Result<(), TrainError> {
        self.losses.get(&recipe.loss.kind)?;
        self.optimiser(recipe)?;
        self.schedule(recipe)?;
        self.sampling(recipe)?;
        self.in_full(recipe).map(drop)
    }
}

/// Builds the `part` that `choice` names, which has to take all options.
fn built<T>(
    part: &str,
    choice: &Choice,
    build: impl FnOnce(&mut Options<'_>) -> Result<T, OptionError>,
) -> Result<T, TrainError> {
    let mut options = choice.reader(format!("{part} {}", choice.kind));
    let made = build(&mut options)?;
    options.finish()?;
    Ok(made)
}
