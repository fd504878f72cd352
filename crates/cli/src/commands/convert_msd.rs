//! `convert-msd`: tasks of the Medical Segmentation Decathlon.

use nnunet::ConvertMsdJob;

use super::Entry;
use super::dataset_flags::THREADS;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "the unpacked task, e.g. Task05_Prostate (not a dataset of nnU-Net v1)")
        .within(Group::Input)
        .required("-i FOLDER"),
    Flag::one(&["-overwrite_id"], "N", "id of the new dataset (default: the number of the task)")
        .within(Group::Output),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "convert-msd",
        reference_names: &["nnUNetv2_convert_MSD_dataset"],
        summary: "convert a task of the Medical Segmentation Decathlon into a raw dataset",
        description: "Converts a task of the Medical Segmentation Decathlon into a raw dataset, e.g. Task05_Prostate \
                      into Dataset005_Prostate: 4-D images are split into one file per channel, dataset.json is \
                      rewritten, everything else is copied. The dataset appears once it is complete, or not at all.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let source = matches.required("-i")?.into();
    let job = ConvertMsdJob { source, id: matches.parsed("-overwrite_id", "a number")? };
    let made = session.project.convert_msd(&job, session.ctx())?;
    session.message(&format!("made {}", made.display()));
    Ok(())
}
