//! The `nnunet` program with parts of its own: each is one file, and one line in [`register`].
#![forbid(unsafe_code)]

mod architecture;
mod loss;
mod normalization;
mod planner;
mod recipe;
mod schedule;
mod transform;

use std::process::ExitCode;
use std::sync::Arc;

use nnunet::Registry;
use nnunet::parts::AlreadyRegistered;

fn main() -> ExitCode {
    nnunet_cli::Program::new().register(register).run()
}

fn register(registry: &mut Registry) -> Result<(), AlreadyRegistered> {
    let Registry { data, train, recipes, .. } = registry;
    data.architectures.register(
        "FlatNet",
        "residual blocks at full resolution",
        Arc::new(architecture::FlatNet),
    )?;
    data.planners.register(planner::NAME, "plans for FlatNet", Arc::new(planner::FlatPlanner))?;
    data.normalizations.register(
        "MedianNormalization",
        "median 0, interquartile range 1",
        Arc::new(normalization::MedianNormalization),
    )?;
    train.losses.register("brier", "squared error of the probabilities", Arc::new(loss::build))?;
    train.schedules.register("halving", "half the rate every few epochs", Arc::new(schedule::build))?;
    train.transforms.register("posterize", "intensities in steps", Arc::new(transform::build))?;
    train.augmentations.register("posterized", "the default and posterize", recipe::augmentation())?;
    recipes.register(recipe::NAME, "trains FlatNet with own parts", recipe::recipe())
}
