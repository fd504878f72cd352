//! `verify`: every fault of a dataset at once.

use std::path::Path;

use anyhow::bail;

use super::Entry;
use super::dataset_flags::{DATASETS, datasets};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "verify",
        reference_names: &[],
        summary: "list every fault of a dataset",
        description: "Checks dataset.json, the files of all training cases and their content: missing \
                      channels and labels, shapes and geometry that do not match, label values that are not \
                      in dataset.json, values that are not finite, damaged files. Lists all faults at once \
                      and fails if there is one; warnings alone do not fail.",
        positionals: &[],
        flags: &[&[DATASETS], FOLDER_FLAGS, THREAD_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    for dataset in datasets(matches, session)? {
        check(&session.folders.raw()?.join(dataset.as_str()), session)?;
    }
    Ok(())
}

/// Prints the faults of the dataset in `folder`; an error if it cannot be used.
pub(super) fn check(folder: &Path, session: &Session) -> anyhow::Result<()> {
    let report = nnunet::dataset::verify::verify(folder, &session.display, &session.cancel);
    for fault in &report.faults {
        session.message(&fault.to_string());
    }
    let (errors, warnings) = (report.errors(), report.faults.len() - report.errors());
    if report.interrupted {
        bail!("{}: the check was interrupted", folder.display());
    }
    if errors > 0 {
        bail!(
            "{}: {errors} faults and {warnings} warnings in {} cases; repair the faults listed above",
            folder.display(),
            report.cases
        );
    }
    session.message(&format!("{}: {} cases, no faults, {warnings} warnings", folder.display(), report.cases));
    Ok(())
}
