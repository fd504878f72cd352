//! From the names in a recipe to the parts of a training.

use std::sync::Arc;

use nnunet_base::parts::{Choice, Named, Options};
use nnunet_graph::loss::{LossSpec, ScaleLossSpec, deep_supervision_weights};
use nnunet_graph::optimiser::{OptimiserSpec, SgdOptions};
use nnunet_recipe::Recipe;

use super::error::TrainError;
use super::sampling::{Sampling, samplings};
use super::schedule::PolynomialDecay;
use crate::augment::{AugmentationPolicy, ConfigurationFacts};

pub(super) fn sampling(choice: &Choice) -> Result<Arc<dyn Sampling>, TrainError> {
    let samplings = samplings();
    let build = samplings.get(&choice.kind)?;
    let mut options = reader("sampling", choice);
    let sampling = build(&mut options)?;
    options.finish()?;
    Ok(sampling)
}

pub(super) fn optimiser(choice: &Choice) -> Result<OptimiserSpec, TrainError> {
    Named::new("optimiser").with("sgd", "", ()).get(&choice.kind)?;
    let mut options = reader("optimiser", choice);
    let default = SgdOptions::default();
    let spec = SgdOptions {
        momentum: options.number("momentum", default.momentum)?,
        weight_decay: options.number("weight_decay", default.weight_decay)?,
        nesterov: options.switch("nesterov", default.nesterov)?,
    };
    options.finish()?;
    Ok(OptimiserSpec::Sgd(spec))
}

pub(super) fn schedule(recipe: &Recipe) -> Result<PolynomialDecay, TrainError> {
    Named::new("schedule").with("polynomial", "", ()).get(&recipe.schedule.kind)?;
    let mut options = reader("schedule", &recipe.schedule);
    let exponent = options.number("exponent", 0.9)?;
    options.finish()?;
    Ok(PolynomialDecay { initial: recipe.initial_learning_rate, epochs: recipe.epochs, exponent })
}

pub(super) fn loss(recipe: &Recipe, scale: ScaleLossSpec, outputs: usize) -> Result<LossSpec, TrainError> {
    Named::new("loss").with("dice_ce", "", ()).get(&recipe.loss.kind)?;
    reader("loss", &recipe.loss).finish()?;
    let weights = match &recipe.deep_supervision_weights {
        None => deep_supervision_weights(outputs),
        Some(weights) if weights.len() == outputs && weights.iter().all(|weight| *weight >= 0.0) => {
            weights.clone()
        }
        Some(weights) => {
            let found = weights.clone();
            return Err(TrainError::DeepSupervisionWeights { found, outputs });
        }
    };
    Ok(LossSpec::DeepSupervision { loss: scale, weights })
}

/// The augmentation, and whether patches are mirrored.
pub(super) fn augmentation(
    choice: &Choice,
    facts: &ConfigurationFacts,
) -> Result<(AugmentationPolicy, Option<Vec<usize>>), TrainError> {
    let lists = Named::new("augmentation").with("default", "", 3).with("no_mirroring", "", 0).with(
        "only_mirror01",
        "",
        2,
    );
    let axes = *lists.get(&choice.kind)?;
    reader("augmentation", choice).finish()?;
    let mut policy = AugmentationPolicy::default_for(facts)?;
    let dimensions = policy.geometry.dimensions;
    let count = if axes == 2 { dimensions - 1 } else { axes.min(dimensions) };
    for (axis, mirrored) in policy.mirror.axes.iter_mut().enumerate() {
        *mirrored &= axis + dimensions < 3 + count;
    }
    Ok((policy, (count > 0).then(|| (0..count).collect())))
}

fn reader<'a>(part: &str, choice: &'a Choice) -> Options<'a> {
    choice.reader(format!("{part} {}", choice.kind))
}
