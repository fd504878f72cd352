//! `explain`: why the plans are as they are.

use nnunet::plan::{PlannerOptions, explain_plans, explanations_as_json, explanations_as_text};

use super::Entry;
use super::dataset_flags::{GPU_MEMORY_TARGET, gpu_memory_target};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-d"], "DATASET", "dataset, by id (4) or name (Dataset004_Hippocampus)"),
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)"),
    GPU_MEMORY_TARGET,
    Flag::switch(
        &["--json"],
        "a JSON list instead of text: key, value, source, rule, and planned where it differs",
    ),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "explain",
        reference_names: &[],
        summary: "tell why each value of the plans is what it is",
        description: "For every value of a plans file: the value of the fingerprint or of dataset.json that it follows \
                      from, the rule, and, where the file was edited, what the planner makes. Needs the dataset's \
                      folder of preprocessed data. The file does not say for how much memory it was planned; give \
                      -gpu_memory_target where that was not the planner's own.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let dataset = session.folders.find(matches.required("-d")?)?;
    let preprocessed = session.folders.preprocessed()?.join(dataset.as_str());
    let options =
        PlannerOptions { gpu_memory_target_gb: gpu_memory_target(matches)?, ..PlannerOptions::default() };
    let plans = matches.text("-p").unwrap_or("nnUNetPlans");
    let explanations = explain_plans(&preprocessed, plans, options, &nnunet::Parts::default())?;
    if matches.has("--json") {
        session.result(&explanations_as_json(&explanations));
    } else {
        session.result(explanations_as_text(&explanations).trim());
    }
    Ok(())
}
