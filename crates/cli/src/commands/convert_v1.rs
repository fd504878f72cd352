//! `convert-v1`: raw datasets of nnU-Net v1.

use nnunet::ConvertVersion1Job;

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "convert-v1",
        reference_names: &["nnUNetv2_convert_old_nnUNet_dataset"],
        summary: "convert a raw dataset of nnU-Net v1",
        description: "Copies a raw dataset of nnU-Net v1 into the folder of raw datasets and rewrites its \
                      dataset.json. The dataset appears when it is complete, or not at all.",
        after_interruption: Command::START_AGAIN,
        positionals: &[
            Positional { name: "FOLDER", help: "the dataset of version 1, with imagesTr and labelsTr" },
            Positional { name: "NAME", help: "name of the new dataset, like Dataset005_Prostate" },
        ],
        flags: &[THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = ConvertVersion1Job {
        source: matches.required("FOLDER")?.into(),
        name: matches.required("NAME")?.to_owned(),
    };
    let made = session.project.convert_version_1(&job, session.ctx())?;
    session.message(&format!("made {}", made.display()));
    Ok(())
}
