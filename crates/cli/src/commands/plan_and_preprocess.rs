//! `plan-and-preprocess`: fingerprint, plan and preprocess in one go.

use nnunet::dataset::Part;
use nnunet::fingerprint::ExtractOptions;

use super::Entry;
use super::dataset_flags::{
    self, CLEAN, CONFIGURATIONS, DATASETS, FINGERPRINT_EXTRACTOR, MAX_RAM, NO_PROGRESS_BAR, PLANNER_FLAGS,
    THREADS, VERBOSE, VERIFY, apply_verbose, check_extractor, datasets, max_ram, planner_options,
};
use super::preprocess::preprocess;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    DATASETS,
    VERIFY,
    CLEAN,
    Flag::switch(&["--no_pp"], "stop after the plans"),
    CONFIGURATIONS,
    THREADS,
    Flag::one(&["-npfp"], "N", "threads for the fingerprint; the larger of this and -np counts"),
    MAX_RAM,
    FINGERPRINT_EXTRACTOR,
    NO_PROGRESS_BAR,
    VERBOSE,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "plan-and-preprocess",
        reference_names: &["nnUNetv2_plan_and_preprocess"],
        summary: "fingerprint, plan and preprocess in one go",
        description: "Everything from raw data to what training needs: takes the fingerprint (unless there is \
                      one), plans, and preprocesses the configurations; cases that are finished \
                      already are kept.",
        after_interruption: Command::RESUME,
        positionals: &[],
        flags: &[FLAGS, PLANNER_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    check_extractor(matches)?;
    apply_verbose(matches, session);
    let options = planner_options(matches)?;
    let extract = ExtractOptions { max_ram: max_ram(matches)?, ..ExtractOptions::default() };
    let datasets = datasets(matches, session)?;
    let verify = matches.has("--verify_dataset_integrity");
    for dataset in &datasets {
        dataset_flags::fingerprint(dataset, verify, matches.has("--clean"), &extract, session)?;
    }
    for dataset in &datasets {
        let plans = dataset_flags::plan(dataset, &options, session)?;
        if !matches.has("--no_pp") {
            preprocess(dataset, &plans, matches, Part::default(), session)?;
        }
    }
    Ok(())
}
