//! `preprocess`: the cases as the network will see them.

use nnunet::{DatasetName, PreprocessJob};

use super::Entry;
use super::dataset_flags::{
    CONFIGURATIONS, DATASETS, MAX_RAM, NO_PROGRESS_BAR, PART_FLAGS, THREADS, VERBOSE, apply_verbose,
    datasets, part,
};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    DATASETS,
    Flag::one(&["-plans_name"], "NAME", "name of the plans (default: nnUNetPlans)").within(Group::Input),
    CONFIGURATIONS,
    THREADS,
    MAX_RAM,
    NO_PROGRESS_BAR,
    VERBOSE,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "preprocess",
        reference_names: &["nnUNetv2_preprocess"],
        summary: "crop, normalise and resample the training cases",
        description: "Prepares the training cases for each configuration and stores them in the dataset's folder of \
                      preprocessed data, in nnU-Net's own format. Cases that were already made from the same files with \
                      the same plans are kept, so rerun the command to resume after an interruption. With --num-parts, \
                      several machines that share the folders each preprocess a part of the cases.",
        after_interruption: Command::RESUME,
        positionals: &[],
        flags: &[FLAGS, PART_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    apply_verbose(matches, session);
    let part = part(matches)?;
    for dataset in datasets(matches, session)? {
        let plans = matches.text("-plans_name").unwrap_or("nnUNetPlans");
        let mut job = job_of(dataset, plans, matches)?;
        job.options.part = part;
        session.project.preprocess(&job, session.ctx())?;
    }
    Ok(())
}

/// The configurations of `-c` with the plans `plans`.
pub(super) fn job_of(
    dataset: DatasetName,
    plans: &str,
    matches: &Matches,
) -> Result<PreprocessJob, UsageError> {
    let mut job = PreprocessJob::new(dataset, plans);
    if matches.has(CONFIGURATIONS.key()) {
        job.configurations = matches.texts(CONFIGURATIONS.key()).to_vec();
    }
    Ok(job)
}
