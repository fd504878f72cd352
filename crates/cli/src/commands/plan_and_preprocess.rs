//! `plan-and-preprocess`: fingerprint, plan and preprocess in one go.

use nnunet::{FingerprintJob, PlanJob};

use super::dataset_flags::{
    self, CLEAN, CONFIGURATIONS, DATASETS, FINGERPRINT_EXTRACTOR, MAX_RAM, NO_PROGRESS_BAR, PLANNER_FLAGS,
    THREADS, VERBOSE, VERIFY, apply_verbose, check_extractor, datasets, planner_options,
};
use super::preprocess::job_of;
use super::{Entry, verify};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    DATASETS,
    VERIFY,
    CLEAN,
    Flag::switch(&["--no_pp"], "stop after planning"),
    CONFIGURATIONS,
    THREADS,
    Flag::one(&["-npfp"], "N", "threads for the fingerprint; the larger of this and -np counts")
        .within(Group::Speed),
    MAX_RAM,
    FINGERPRINT_EXTRACTOR,
    NO_PROGRESS_BAR,
    VERBOSE,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "plan-and-preprocess",
        reference_names: &["nnUNetv2_plan_and_preprocess"],
        summary: "extract the fingerprint, plan and preprocess in one go",
        description: "Does everything between raw data and training: extracts the fingerprint (unless there is one), \
                      plans, and preprocesses the configurations. Cases that are already finished are kept.",
        after_interruption: Command::RESUME,
        positionals: &[],
        flags: &[FLAGS, PLANNER_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    check_extractor(matches)?;
    apply_verbose(matches, session);
    let options = planner_options(matches, session)?;
    let datasets = datasets(matches, session)?;
    for dataset in &datasets {
        if matches.has(VERIFY.key()) {
            verify::check(dataset, session)?;
        }
        let anew = matches.has(CLEAN.key());
        let job = FingerprintJob { anew, ..FingerprintJob::new(dataset.clone()) };
        dataset_flags::fingerprint(&job, session)?;
    }
    for dataset in datasets {
        let job = PlanJob { dataset: dataset.clone(), options: options.clone() };
        let plans = dataset_flags::plan(&job, session)?;
        if !matches.has("--no_pp") {
            session.project.preprocess(&job_of(dataset, &plans, matches)?, session.ctx())?;
        }
    }
    Ok(())
}
