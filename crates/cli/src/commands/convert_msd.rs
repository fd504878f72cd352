//! `convert-msd`: tasks of the Medical Segmentation Decathlon.

use nnunet::ConvertMsdJob;

use super::Entry;
use super::dataset_flags::THREADS;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-i"], "FOLDER", "the unpacked task, e.g. Task05_Prostate; no dataset of nnU-Net v1"),
    Flag::one(&["-overwrite_id"], "N", "id of the new dataset (default: the number of the task)"),
    THREADS,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "convert-msd",
        reference_names: &["nnUNetv2_convert_MSD_dataset"],
        summary: "make a raw dataset from a task of the Medical Segmentation Decathlon",
        description: "Makes Dataset005_Prostate in the folder of raw datasets from Task05_Prostate: images of \
                      four dimensions are split into a file for each channel, everything else is copied, \
                      dataset.json is rewritten. The dataset appears when it is complete, or not at all.",
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
