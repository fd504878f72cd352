//! `accumulate-crossval-results`: the validation predictions of all folds in one folder, evaluated.

use nnunet::AccumulateJob;
use nnunet::model::ModelName;

use super::Entry;
use super::dataset_flags::THREADS;
use super::evaluate::print_table;
use super::find_best_configuration::{FOLDS, folds};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-c"], "CONFIGURATION", "configuration, e.g. 3d_fullres").within(Group::Input).required("-c CONFIGURATION"),
    Flag::one(&["-o"], "FOLDER", "new or empty folder for the results (default: crossval_results_folds_... in the folder of the model)").within(Group::Output),
    FOLDS,
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)").within(Group::Input),
    Flag::one(&["-tr"], "TRAINER", "name of the trainer (default: nnUNetTrainer)").within(Group::Input),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "accumulate-crossval-results",
        reference_names: &["nnUNetv2_accumulate_crossval_results"],
        summary: "collect the validation predictions of all folds and evaluate them together",
        description: "Copies the validation predictions of all folds of a model into one folder and evaluates \
                      them there.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "DATASET", help: "dataset by id or name" }],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = AccumulateJob {
        dataset: session.project.dataset(matches.required("DATASET")?)?,
        model: ModelName {
            trainer: matches.text("-tr").unwrap_or("nnUNetTrainer").to_owned(),
            plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
            configuration: matches.required("-c")?.to_owned(),
        },
        folds: folds(matches)?,
        output: matches.path("-o"),
    };
    let whole = session.project.accumulate(&job, session.ctx())?;
    print_table(&whole.summary, session);
    session.message(&format!("written to {}", whole.folder.display()));
    Ok(())
}
