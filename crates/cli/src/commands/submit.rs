//! `submit`: the whole method as jobs.

use std::path::Path;

use nnunet::recipe::{find, is_file_name, read_file};
use nnunet::submit::SubmitRequest;

use super::Entry;
use super::find_best_configuration::{FOLDS, folds};
use super::job_flags::{
    PLACE_FLAGS, SLURM_FLAGS, absolute, folder, folder_arguments, place, print_jobs, run_jobs,
};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const DRY_RUN: &[Flag] = &[Flag::switch(
    &["--dry-run"],
    "print the jobs and what each needs; with --slurm, write the scripts and submit none of them",
)];

const WHAT_FLAGS: &[Flag] = &[
    Flag::many(
        &["-c"],
        "CONFIGURATION",
        "configurations (default: all of the plans, which then have to exist)",
    )
    .within(Group::Input),
    FOLDS,
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans, made by the first job if missing)")
        .within(Group::Input),
    Flag::one(&["-tr"], "TRAINER", "name of a trainer, or the file of a recipe (default: nnUNetTrainer)"),
    Flag::one(&["--parts"], "N", "tasks among which the cases to preprocess are divided (default: 1)"),
    Flag::switch(
        &["--disable_ensembling"],
        "compare single models only; trainings save no probabilities then",
    ),
    Flag::one(&["-i"], "INPUT", "images to segment with the best model or ensemble in the end")
        .within(Group::Input),
    Flag::one(
        &["--predictions"],
        "FOLDER",
        "folder of these segmentations (default: INPUT with _segmented behind)",
    )
    .within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "submit",
        reference_names: &[],
        summary: "run the whole method as jobs, on a SLURM cluster or here",
        description: "Makes a graph of jobs: plan, preprocess (a task for each part), train (a task for each configuration \
                      and fold, the previous stage of a cascade first), find-best-configuration, and predict if images \
                      are given with -i. Every task is a command of this program. With --slurm, each job is a script \
                      that can be read, submitted with its dependencies; a training that reaches its time limit saves \
                      its state, goes back into the queue and resumes. With --local N, the same tasks run here.",
        after_interruption: Command::RESUME,
        positionals: &[Positional { name: "DATASET", help: "dataset by id or name" }],
        flags: &[PLACE_FLAGS, DRY_RUN, WHAT_FLAGS, SLURM_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let request = request(matches, session)?;
    let place = place(matches)?;
    let folder = folder(matches, session, &request.dataset, "submit")?;
    let jobs = session.project.jobs(&request)?;
    match (place, matches.has("--dry-run")) {
        (place, true) => print_jobs(&jobs, place.as_ref(), &folder, session),
        (Some(place), false) => run_jobs(&jobs, place, &folder, session),
        (None, false) => Err(UsageError(
            "say where the jobs run: --slurm, --local N, or --dry-run to print them".to_owned(),
        )
        .into()),
    }
}

fn request(matches: &Matches, session: &Session) -> anyhow::Result<SubmitRequest> {
    let trainer = matches.text("-tr").unwrap_or("nnUNetTrainer");
    let known = &session.project.registry().recipes;
    // Jobs run in other folders, and the cluster's nodes may be asked in weeks: the recipe is looked at now.
    let (trainer, recipe) = match is_file_name(trainer) {
        true => (absolute(Path::new(trainer))?.display().to_string(), read_file(Path::new(trainer), known)?),
        false => (trainer.to_owned(), find(trainer, known)?),
    };
    let predict = match (matches.path("-i"), matches.path("--predictions")) {
        (Some(input), output) => {
            let input = absolute(&input)?;
            let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let beside = || input.with_file_name(format!("{name}_segmented"));
            Some((input.clone(), output.map_or_else(|| Ok(beside()), |output| absolute(&output))?))
        }
        (None, None) => None,
        (None, Some(_)) => {
            return Err(UsageError("--predictions belongs to -i, which is not given".to_owned()).into());
        }
    };
    Ok(SubmitRequest {
        dataset: session.project.dataset(matches.required("DATASET")?)?,
        plans: matches.text("-p").unwrap_or("nnUNetPlans").to_owned(),
        configurations: matches.texts("-c").to_vec(),
        folds: folds(matches)?,
        trainer,
        trainer_name: recipe.name,
        parts: matches.at_least_one("--parts")?.unwrap_or(1),
        ensembling: !matches.has("--disable_ensembling"),
        predict,
        common: folder_arguments(session)?,
    })
}
