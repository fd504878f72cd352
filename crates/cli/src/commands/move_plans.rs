//! `move-plans`: the plans of one dataset for another.

use nnunet::MovePlansJob;

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-s"], "DATASET", "dataset that has the plans, by id or name")
        .within(Group::Input)
        .required("-s DATASET"),
    Flag::one(&["-t"], "DATASET", "dataset that gets them, by id or name")
        .within(Group::Output)
        .required("-t DATASET"),
    Flag::one(&["-sp"], "NAME", "name of the plans, e.g. nnUNetPlans")
        .within(Group::Input)
        .required("-sp NAME"),
    Flag::one(
        &["-tp"],
        "NAME",
        "name that they get (default: the same; another name keeps them apart from the dataset's own)",
    )
    .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "move-plans",
        reference_names: &["nnUNetv2_move_plans_between_datasets"],
        summary: "use the plans of one dataset for another, e.g. for pretraining",
        description: "Writes the plans into the other dataset's folder of preprocessed data, with the name of that \
                      dataset and the reader for its images. Preprocess that dataset with them (preprocess -plans_name) \
                      before training.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let written = session.project.move_plans(&MovePlansJob {
        source: session.project.dataset(matches.required("-s")?)?,
        source_plans: matches.required("-sp")?.to_owned(),
        target: session.project.dataset(matches.required("-t")?)?,
        target_plans: matches.text("-tp").map(str::to_owned),
    })?;
    session.message(&format!("wrote {}", written.display()));
    Ok(())
}
