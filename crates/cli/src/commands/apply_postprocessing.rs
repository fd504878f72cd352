//! `apply-postprocessing`: remove what a postprocessing.pkl says from predicted segmentations.

use nnunet::{ApplyPostprocessingJob, Predictions};

use super::Entry;
use super::dataset_flags::THREADS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

/// Where dataset.json and plans.json are, if not beside the segmentations.
pub(super) const COMPANION_FLAGS: &[Flag] = &[
    Flag::one(&["-plans_json"], "FILE", "plans.json of the segmentations (default: the one next to them)")
        .within(Group::Input),
    Flag::one(
        &["-dataset_json"],
        "FILE",
        "dataset.json of the segmentations (default: the one next to them)",
    )
    .within(Group::Input),
];

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "folder of segmentations").within(Group::Input).required("-i FOLDER"),
    Flag::one(&["-o"], "FOLDER", "folder for the changed segmentations, created if it does not exist")
        .within(Group::Output)
        .required("-o FOLDER"),
    Flag::one(
        &["-pp_pkl_file"],
        "FILE",
        "postprocessing.pkl (or .json) of determine-postprocessing or find-best-configuration",
    )
    .within(Group::Input)
    .required("-pp_pkl_file FILE"),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "apply-postprocessing",
        reference_names: &["nnUNetv2_apply_postprocessing"],
        summary: "apply a postprocessing to segmentations",
        description: "Applies the steps of a postprocessing.pkl to every segmentation of a folder. The file is read as \
                      data; nothing in it is executed.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, COMPANION_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = ApplyPostprocessingJob {
        predictions: predictions(matches)?,
        output: matches.required("-o")?.into(),
        postprocessing: matches.required("-pp_pkl_file")?.into(),
    };
    let done = session.project.apply_postprocessing(&job, session.ctx())?;
    session.message(&format!(
        "{} steps, {} voxels removed; written to {}",
        done.steps,
        done.removed,
        job.output.display()
    ));
    Ok(())
}

/// The folder of `-i` with the companions that the flags name.
pub(super) fn predictions(matches: &Matches) -> Result<Predictions, UsageError> {
    Ok(Predictions {
        folder: matches.required("-i")?.into(),
        dataset_json: matches.path("-dataset_json"),
        plans_json: matches.path("-plans_json"),
    })
}
