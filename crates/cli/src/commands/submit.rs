//! `submit`: the whole method as jobs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nnunet::recipe::{find, is_file_name, read_file};
use nnunet::submit::{JobGraph, LocalOptions, SlurmOptions, SubmitRequest};

use super::Entry;
use super::find_best_configuration::{FOLDS, folds};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const WHERE_FLAGS: &[Flag] = &[
    Flag::switch(&["--slurm"], "submit the jobs to SLURM"),
    Flag::one(
        &["--local"],
        "N",
        "run the jobs on this machine, N tasks at once; rerun the command to resume",
    ),
    Flag::switch(
        &["--dry-run"],
        "print the jobs and what each needs; with --slurm, write the scripts and submit none of them",
    ),
    Flag::one(
        &["-o"],
        "FOLDER",
        "folder for scripts, logs and submit.json (default: RESULTS/DATASET/submit)",
    )
    .within(Group::Output),
];

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

const SLURM_FLAGS: &[Flag] = &[
    Flag::one(&["--partition"], "NAME", "partition of the cluster").within(Group::Speed),
    Flag::one(&["--account"], "NAME", "account that is charged").within(Group::Speed),
    Flag::one(
        &["--time"],
        "LIMIT",
        "time limit of a task, e.g. 1-00:00:00; trainings save their state before it and are queued again",
    )
    .within(Group::Speed),
    Flag::one(
        &["--warning"],
        "SECONDS",
        "how long before the time limit a training saves its state (default: 120)",
    )
    .within(Group::Speed),
    Flag::one(&["--cpus"], "N", "cores of a task").within(Group::Speed),
    Flag::one(&["--memory"], "SIZE", "memory of a task, e.g. 16G").within(Group::Speed),
    Flag::many(
        &["--sbatch"],
        "OPTION",
        "further options for sbatch, each as one word, e.g. --sbatch=--gres=gpu:1",
    )
    .within(Group::Speed),
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
        flags: &[WHERE_FLAGS, WHAT_FLAGS, SLURM_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let request = request(matches, session)?;
    let slurm = slurm_options(matches)?;
    let at_once = matches.at_least_one("--local")?;
    let project = &session.project;
    let folder = match matches.path("-o") {
        Some(folder) => absolute(&folder)?,
        None => absolute(&project.folders().results()?.join(&request.dataset).join("submit"))?,
    };
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let jobs = project.jobs(&request)?;
    match (matches.has("--slurm"), at_once, matches.has("--dry-run")) {
        (true, Some(_), _) => Err(UsageError("--slurm and --local exclude each other".to_owned()).into()),
        (false, None, false) => Err(UsageError(
            "say where the jobs run: --slurm, --local N, or --dry-run to print them".to_owned(),
        )
        .into()),
        (on_slurm, _, true) => {
            if on_slurm {
                for script in project.write_scripts(&jobs, &program, &folder, &slurm)? {
                    session.message(&format!("wrote {}", script.display()));
                }
            }
            print_jobs(&jobs, session);
            Ok(())
        }
        (true, None, false) => {
            let record = project.submit(&jobs, &program, &folder, &slurm)?;
            for job in &record.jobs {
                session.result(&format!("{:<12}{}", job.slurm_id.as_deref().unwrap_or_default(), job.name));
            }
            session.message(&format!(
                "scripts and submit.json are in {}, logs will be in logs",
                folder.display()
            ));
            Ok(())
        }
        (false, Some(at_once), false) => {
            let threads = (session.threads.get() / at_once).max(1);
            let options = LocalOptions { program, at_once, threads };
            project.run_locally(&jobs, &folder, &options, session.ctx())?;
            let tasks: usize = jobs.jobs.iter().map(|job| job.tasks.len()).sum();
            session
                .message(&format!("{tasks} tasks are done, logs are in {}", folder.join("logs").display()));
            Ok(())
        }
    }
}

fn print_jobs(jobs: &JobGraph, session: &Session) {
    for job in &jobs.jobs {
        let needs: Vec<&str> = job.needs.iter().map(|need| jobs.jobs[*need].name.as_str()).collect();
        let after = if needs.is_empty() { String::new() } else { format!(", after {}", needs.join(", ")) };
        session.result(&format!("{}{after}", job.name));
        for task in &job.tasks {
            session.result(&format!("  nnunet {}", task.arguments.join(" ")));
        }
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

/// The three folders as arguments, so that a job finds them wherever it runs.
fn folder_arguments(session: &Session) -> anyhow::Result<Vec<String>> {
    let folders = session.project.folders();
    let given =
        [("--raw", &folders.raw), ("--preprocessed", &folders.preprocessed), ("--results", &folders.results)];
    let mut arguments = Vec::new();
    for (flag, folder) in given {
        if let Some(folder) = folder {
            arguments.extend([flag.to_owned(), absolute(folder)?.display().to_string()]);
        }
    }
    Ok(arguments)
}

fn slurm_options(matches: &Matches) -> Result<SlurmOptions, UsageError> {
    let given = SLURM_FLAGS.iter().find(|flag| matches.has(flag.key()));
    if let Some(flag) = given.filter(|_| !matches.has("--slurm")) {
        return Err(UsageError(format!("{} belongs to --slurm, which is not given", flag.key())));
    }
    let text = |flag: &str| matches.text(flag).map(str::to_owned);
    let default = SlurmOptions::default();
    Ok(SlurmOptions {
        partition: text("--partition"),
        account: text("--account"),
        time: text("--time"),
        cpus: matches.parsed("--cpus", "a number of cores")?,
        memory: text("--memory"),
        warning_seconds: matches
            .parsed("--warning", "a number of seconds")?
            .unwrap_or(default.warning_seconds),
        extra: matches.texts("--sbatch").to_vec(),
    })
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{}: no such path", path.display()))
}
