//! `explain`: why the plans are as they are.

use nnunet::ExplainJob;
use nnunet::plan::{explanations_as_json, explanations_as_text};

use super::Entry;
use super::dataset_flags::{GPU_MEMORY_TARGET, gpu_memory_target};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-d"], "DATASET", "dataset, by id (4) or name (Dataset004_Hippocampus)")
        .within(Group::Input)
        .required("-d DATASET"),
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)").within(Group::Input),
    GPU_MEMORY_TARGET,
    Flag::switch(
        &["--json"],
        "print a JSON list instead of text: key, value, source, rule, and planned where it differs",
    )
    .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "explain",
        reference_names: &[],
        summary: "explain why each value of the plans is what it is",
        description: "Prints, for every value of a plans file, the value of the fingerprint or of dataset.json that it \
                      follows from, the rule and, where the file was edited, what the planner chooses. Needs the \
                      dataset's folder of preprocessed data. The file does not say how much memory it was planned for: \
                      give -gpu_memory_target if that was not the planner's own.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = ExplainJob {
        dataset: session.project.dataset(matches.required("-d")?)?,
        plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
        gpu_memory_target_gb: gpu_memory_target(matches)?,
    };
    let explanations = session.project.explain(&job)?;
    if matches.has("--json") {
        session.result(&explanations_as_json(&explanations));
    } else {
        session.result(explanations_as_text(&explanations).trim());
    }
    Ok(())
}
