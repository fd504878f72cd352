//! `ensemble`: average the probabilities of several predictions.

use std::path::{Path, PathBuf};

use nnunet::ensemble::ensemble_folders;

use super::dataset_flags::{MAX_RAM, THREADS, max_ram};
use super::{Entry, writable};
use crate::flags::{Command, Flag, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::many(
        &["-i"],
        "FOLDER",
        "folders of predictions made with --save_probabilities; dataset.json and geometry come from the first",
    ),
    Flag::one(&["-o"], "FOLDER", "folder for the segmentations, made if it does not exist"),
    THREADS,
    MAX_RAM,
    Flag::switch(&["--save_npz"], "write the mean probabilities (.npz) and properties (.pkl) too"),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "ensemble",
        reference_names: &["nnUNetv2_ensemble"],
        summary: "average the probabilities of several predictions",
        description: "Averages the probabilities that several models predicted for the same cases and writes \
                      the segmentations that follow.",
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
    let output = Path::new(matches.required("-o")?);
    writable::check_folder(output)?;
    let save = matches.has("--save_npz");
    let cases = ensemble_folders(&folders, output, save, max_ram(matches)?, session.ctx())?;
    session.message(&format!(
        "{cases} cases from {} folders, written to {}",
        folders.len(),
        output.display()
    ));
    Ok(())
}
