//! `plan`: from the fingerprint to the plans file.

use nnunet::PlanJob;

use super::Entry;
use super::dataset_flags::{self, DATASETS, PLANNER_FLAGS, datasets, planner_options};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "plan",
        reference_names: &["nnUNetv2_plan_experiment"],
        summary: "plan the spacing, patch size, network and batch size of each configuration",
        description: "Reads the fingerprint and writes the plans file (nnUNetPlans.json for the default \
                      planner) into the dataset's folder of preprocessed data. Configurations that you added to \
                      an existing plans file are kept.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[&[DATASETS], PLANNER_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let options = planner_options(matches, session)?;
    for dataset in datasets(matches, session)? {
        dataset_flags::plan(&PlanJob { dataset, options: options.clone() }, session)?;
    }
    Ok(())
}
