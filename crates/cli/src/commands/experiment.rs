//! `experiment`: a recipe and its variants, trained on the same folds and compared.

use std::path::Path;

use anyhow::bail;
use nnunet::ExperimentJob;
use nnunet::experiment::Experiment;
use nnunet::submit::ExperimentTasks;

use super::Entry;
use super::compare::{Form, TABLE_FLAGS};
use super::job_flags::{
    PLACE_FLAGS, Place, SLURM_FLAGS, absolute, folder, folder_arguments, place, print_jobs, run_jobs,
};
use super::network_flags::{NETWORK_FLAGS, RECOMPUTE, STEP_MAX_RAM, backend, network_arguments};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::switch(
        &["--dry-run"],
        "print what would be trained, and train nothing; with --slurm or --local, print the jobs",
    ),
    Flag::one(&["--only"], "RECIPE/CONFIGURATION/FOLD", "run this training only, and compare nothing"),
    RECOMPUTE,
    STEP_MAX_RAM,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "experiment",
        reference_names: &[],
        summary: "train a recipe and variants of it on the same folds, and compare them",
        description: "Reads a TOML file with a dataset, configurations, folds, a base recipe and variants that say what \
                      differs, trains what is not there yet, and ends with the table of compare. A variant's name \
                      becomes that of its trainer in the results folder. Rerun the command after an interruption or a \
                      change of the file: finished trainings are kept, interrupted ones resume. A training that fails \
                      does not stop the others. With --slurm or --local N the trainings are tasks that run at once, \
                      and the table is in the log of the last job.",
        after_interruption: Command::RESUME,
        positionals: &[Positional {
            name: "FILE",
            help: "the experiment: dataset = 4, folds = [0, 1], base = \"nnUNetTrainer\" (or a table [base]), and tables \
                   such as [variants.focal] with loss = \"focal\"",
        }],
        flags: &[
            FLAGS,
            TABLE_FLAGS,
            PLACE_FLAGS,
            SLURM_FLAGS,
            NETWORK_FLAGS,
            THREAD_FLAGS,
            FOLDER_FLAGS,
            PROGRESS_FLAGS,
        ],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let form = Form::of(matches)?;
    let file = absolute(matches.required("FILE")?.as_ref())?;
    let experiment = Experiment::read(&file, session.project.registry())?;
    if let Some(place) = place(matches)? {
        return run_as_jobs(&experiment, &file, place, matches, session);
    }
    if matches.has("--dry-run") {
        for run in session.project.experiment_runs(&experiment)? {
            session.result(&format!("{:<10}{run}", run.state.word()));
        }
        return Ok(());
    }
    let project =
        session.project.clone().with_backend(backend(matches, session, matches.has("--recompute"))?);
    let job = ExperimentJob { experiment, only: matches.text("--only").map(str::to_owned) };
    let outcome = project.experiment(&job, session.ctx())?;
    if let Some(comparison) = &outcome.comparison {
        form.print(comparison, session);
    }
    match &outcome.failures[..] {
        [] => Ok(()),
        [first, ..] => bail!(
            "{} of {} trainings failed, the first is {}: {}; rerun the command to train what is missing",
            outcome.failures.len(),
            outcome.runs,
            first.run,
            first.error
        ),
    }
}

/// Makes a task of each training that is not done.
fn run_as_jobs(
    experiment: &Experiment,
    file: &Path,
    place: Place,
    matches: &Matches,
    session: &Session,
) -> anyhow::Result<()> {
    if matches.has("--only") {
        let text = "--only belongs to a run on this machine, without --slurm and --local";
        return Err(UsageError(text.to_owned()).into());
    }
    let project = &session.project;
    let folder = folder(matches, session, &project.dataset(&experiment.dataset)?, "experiment")?;
    let (training, common) = (network_arguments(matches)?, folder_arguments(session)?);
    let tasks = ExperimentTasks { file, training: &training, common: &common };
    let jobs = project.experiment_jobs(experiment, tasks)?;
    match matches.has("--dry-run") {
        true => print_jobs(&jobs, Some(&place), &folder, session),
        false => run_jobs(&jobs, place, &folder, session),
    }
}
