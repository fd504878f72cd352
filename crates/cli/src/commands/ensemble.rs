//! `ensemble`: average the probabilities of several predictions.

use std::path::PathBuf;

use nnunet::EnsembleJob;

use super::Entry;
use super::dataset_flags::{MAX_RAM, THREADS};
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::many(
        &["-i"],
        "FOLDER",
        "folders of predictions made with --save_probabilities; dataset.json and the geometry come from the \
         first",
    )
    .within(Group::Input)
    .required("-i FOLDER ..."),
    Flag::one(&["-o"], "FOLDER", "folder for the segmentations, created if it does not exist")
        .within(Group::Output)
        .required("-o FOLDER"),
    THREADS,
    MAX_RAM,
    Flag::switch(&["--save_npz"], "also write the mean probabilities (.npz) and properties (.pkl)")
        .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "ensemble",
        reference_names: &["nnUNetv2_ensemble"],
        summary: "average the probabilities of several predictions",
        description: "Averages the probabilities that several models predicted for the same cases and writes the \
                      resulting segmentations.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let folders: Vec<PathBuf> = matches.texts("-i").iter().map(PathBuf::from).collect();
    if folders.is_empty() {
        return Err(UsageError("the argument -i is required".to_owned()).into());
    }
    let job = EnsembleJob {
        folders,
        output: matches.required("-o")?.into(),
        save_probabilities: matches.has("--save_npz"),
    };
    let cases = session.project.ensemble(&job, session.ctx())?;
    let (count, output) = (job.folders.len(), job.output.display());
    session.message(&format!("{cases} cases from {count} folders, written to {output}"));
    Ok(())
}
