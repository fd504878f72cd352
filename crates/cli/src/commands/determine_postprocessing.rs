//! `determine-postprocessing`: find out which postprocessing helps.

use nnunet::DeterminePostprocessingJob;
use nnunet::postprocess::Determined;

use super::Entry;
use super::apply_postprocessing::{COMPANION_FLAGS, predictions};
use super::dataset_flags::THREADS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "folder of predicted segmentations; the results go there too")
        .within(Group::Input)
        .required("-i FOLDER"),
    Flag::one(&["-ref"], "FOLDER", "folder of reference segmentations")
        .within(Group::Input)
        .required("-ref FOLDER"),
    THREADS,
    Flag::switch(
        &["--remove_postprocessed"],
        "do not keep the changed segmentations in FOLDER/postprocessed",
    )
    .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "determine-postprocessing",
        reference_names: &["nnUNetv2_determine_postprocessing"],
        summary: "find the classes for which keeping the largest component helps",
        description: "Tests on predictions with references whether keeping only the largest component of all foreground, \
                      and then of each class, improves Dice, and writes postprocessing.pkl and postprocessing.json next \
                      to the predictions.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, COMPANION_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = DeterminePostprocessingJob {
        predictions: predictions(matches)?,
        references: matches.required("-ref")?.into(),
        keep_postprocessed: !matches.has("--remove_postprocessed"),
    };
    let found = session.project.determine_postprocessing(&job, session.ctx())?;
    print_decisions(&found, session);
    let written = job.predictions.folder.join("postprocessing.pkl");
    session.message(&format!("written to {}", written.display()));
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
