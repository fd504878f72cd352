//! `find-best-configuration`: which trained model or ensemble is best in the cross-validation.

use nnunet::model::ModelName;
use nnunet::select::SelectRequest;

use super::Entry;
use super::dataset_flags::THREADS;
use super::determine_postprocessing::print_decisions;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

/// The folds of a cross-validation.
pub(super) const FOLDS: Flag =
    Flag::many(&["-f"], "FOLD", "folds that were trained (default: 0 1 2 3 4)").within(Group::Input);

const FLAGS: &[Flag] = &[
    Flag::many(&["-p"], "PLANS", "names of plans (default: nnUNetPlans)").within(Group::Input),
    Flag::many(&["-c"], "CONFIGURATION", "configurations (default: 2d 3d_fullres 3d_lowres 3d_cascade_fullres); those that the plans do not have are \
         skipped").within(Group::Input),
    Flag::many(&["-tr"], "TRAINER", "names of trainers (default: nnUNetTrainer)").within(Group::Input),
    FOLDS,
    THREADS,
    Flag::switch(&["--disable_ensembling"], "compare single models only, which needs no probabilities (train --npz)"),
    Flag::switch(&["--no_overwrite"], "keep the cross-validation and ensemble files of an earlier run").within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "find-best-configuration",
        reference_names: &["nnUNetv2_find_best_configuration"],
        summary: "compare trained models and ensembles, and find the best and its postprocessing",
        description: "Compares the cross-validations of all trained combinations of trainer, configuration and \
                      plans, and of all ensembles of two, determines the postprocessing for the best, and writes \
                      inference_information.json and inference_instructions.txt to the results of the dataset.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "DATASET", help: "dataset by id or name" }],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let given = |key: &str, default: &[&str]| match matches.texts(key) {
        [] => default.iter().map(|text| (*text).to_owned()).collect(),
        texts => texts.to_vec(),
    };
    let plans = given("-p", &["nnUNetPlans"]);
    let configurations = given("-c", &["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]);
    let mut models = Vec::new();
    for trainer in given("-tr", &["nnUNetTrainer"]) {
        for configuration in &configurations {
            for plans in &plans {
                models.push(ModelName {
                    trainer: trainer.clone(),
                    plans: plans.clone(),
                    configuration: configuration.clone(),
                });
            }
        }
    }
    let request = SelectRequest {
        dataset: session.project.dataset(matches.required("DATASET")?)?,
        models,
        folds: folds(matches)?,
        ensembling: !matches.has("--disable_ensembling"),
        overwrite: !matches.has("--no_overwrite"),
    };
    let best = session.project.find_best(&request, session.ctx())?;
    let selection = &best.selection;
    session.result(&format!("{:<12}{}", "mean Dice", "model or ensemble"));
    for candidate in &selection.candidates {
        session.result(&format!("{:<12.5}{}", candidate.dice, candidate.identifier));
    }
    session.result(&format!("\nbest: {}", selection.winner().identifier));
    print_decisions(&selection.postprocessing, session);
    session.result(&format!("\n{}", best.instructions.trim_end()));
    Ok(())
}

/// The numbers given with `-f`, or all five folds.
pub(super) fn folds(matches: &Matches) -> Result<Vec<u32>, UsageError> {
    let folds = matches.all_parsed("-f", "the number of a fold")?;
    Ok(if folds.is_empty() { (0..5).collect() } else { folds })
}
