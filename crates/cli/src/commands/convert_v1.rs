//! `convert-v1`: raw datasets of nnU-Net v1.

use std::path::Path;

use nnunet::convert::convert_version_1;

use super::{Entry, writable};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "convert-v1",
        reference_names: &["nnUNetv2_convert_old_nnUNet_dataset"],
        summary: "make a raw dataset from one of nnU-Net v1",
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
    let source = Path::new(matches.required("FOLDER")?);
    let name = matches.required("NAME")?;
    writable::check_folder(session.folders.raw()?)?;
    let made = convert_version_1(source, name, &session.folders, session.ctx())?;
    session.message(&format!("made {}", made.display()));
    Ok(())
}
