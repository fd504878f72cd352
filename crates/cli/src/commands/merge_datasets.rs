//! `merge-datasets`: several datasets with labels of their own as one.

use std::path::Path;

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "merge-datasets",
        reference_names: &[],
        summary: "merge datasets with different labels into one",
        description: "Makes one raw dataset of several whose labels, or sequences, differ. FILE names the datasets and \
                      what their labels become; the merged dataset.json says of each case which labels were annotated \
                      and which channels may be missing. The dataset appears when it is complete, or not at all.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional {
            name: "FILE",
            help: "TOML with name, and a table [[source]] for each dataset: dataset, name, [source.labels]",
        }],
        flags: &[THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = session.project.read_merge(Path::new(matches.required("FILE")?))?;
    let made = session.project.merge_datasets(&job, session.ctx())?;
    session.message(&format!("made {}", made.display()));
    session.wrote(&made);
    Ok(())
}
