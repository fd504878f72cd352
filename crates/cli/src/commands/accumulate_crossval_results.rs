//! `accumulate-crossval-results`: the validation predictions of all folds in one folder, evaluated.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nnunet::model::ModelName;
use nnunet::select::{SelectError, accumulate, crossval_folder_name, reference_folder};

use super::dataset_flags::THREADS;
use super::evaluate::print_table;
use super::find_best_configuration::{FOLDS, folds, model_folder};
use super::{Entry, writable};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-c"], "CONFIGURATION", "configuration, e.g. 3d_fullres"),
    Flag::one(
        &["-o"],
        "FOLDER",
        "new or empty folder for the results (default: crossval_results_folds_... in the folder of the model)",
    ),
    FOLDS,
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)"),
    Flag::one(&["-tr"], "TRAINER", "name of the trainer (default: nnUNetTrainer)"),
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
    let dataset = session.folders.find(matches.required("DATASET")?)?;
    let name = ModelName {
        trainer: matches.text("-tr").unwrap_or("nnUNetTrainer").to_owned(),
        plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
        configuration: matches.required("-c")?.to_owned(),
    };
    let folds = folds(matches)?;
    let model = model_folder(session, dataset.as_str(), &name)?;
    let output = match matches.path("-o") {
        Some(folder) if !is_empty(&folder) => return Err(SelectError::NotEmpty { folder }.into()),
        Some(folder) => folder,
        None => model.join(crossval_folder_name(&folds)),
    };
    writable::check_folder(&output)?;
    let references = reference_folder(&session.folders, &dataset)?;
    let summary = accumulate(&model, &folds, &output, &references, true, session.ctx())
        .with_context(|| format!("cross-validation of {name}"))?;
    print_table(&summary, session);
    session.message(&format!("written to {}", output.display()));
    Ok(())
}

/// Whether a folder does not exist or has nothing in it.
fn is_empty(folder: &Path) -> bool {
    let first: Option<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).next();
    first.is_none()
}
