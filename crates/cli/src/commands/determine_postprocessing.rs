//! `determine-postprocessing`: find out which postprocessing helps.

use std::path::Path;

use anyhow::Context;
use nnunet::postprocess::{Determined, determine};

use super::apply_postprocessing::{COMPANION_FLAGS, prediction_folder};
use super::dataset_flags::THREADS;
use super::{Entry, writable};
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "folder of predicted segmentations; the results go there too"),
    Flag::one(&["-ref"], "FOLDER", "folder of reference segmentations"),
    THREADS,
    Flag::switch(
        &["--remove_postprocessed"],
        "do not leave the changed segmentations in FOLDER/postprocessed",
    ),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "determine-postprocessing",
        reference_names: &["nnUNetv2_determine_postprocessing"],
        summary: "find out for which classes keeping the largest component helps",
        description: "Tries on predictions with references whether keeping only the largest component of all \
                      foreground, and then of each class, makes Dice better, and writes postprocessing.pkl and \
                      postprocessing.json beside the predictions.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, COMPANION_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let references = Path::new(matches.required("-ref")?);
    let folder = prediction_folder(matches, matches.required("-i")?)?;
    writable::check_folder(folder.path())?;
    let keep = !matches.has("--remove_postprocessed");
    let found = determine(&folder, references, keep, session.ctx())
        .with_context(|| format!("postprocessing of {}", folder.path().display()))?;
    print_decisions(&found, session);
    session.message(&format!("written to {}", folder.path().join("postprocessing.pkl").display()));
    Ok(())
}

/// One line for each step that was tried, and the mean Dice.
pub(super) fn print_decisions(found: &Determined, session: &Session) {
    for decision in &found.decisions {
        session.result(&format!(
            "largest component of {}: Dice {:.5} -> {:.5}, {}",
            decision.classes,
            decision.before,
            decision.after,
            if decision.kept { "kept" } else { "not kept" }
        ));
    }
    session.result(&format!(
        "mean Dice of the foreground {:.5} -> {:.5}",
        found.before.foreground_mean.dice, found.after.foreground_mean.dice
    ));
}
