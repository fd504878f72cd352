//! Where jobs run, on a SLURM cluster or here, for the verbs that make them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nnunet::DatasetName;
use nnunet::submit::{JobGraph, LocalOptions, SlurmOptions};

use crate::flags::{Flag, Group, Matches};
use crate::messages::UsageError;
use crate::session::Session;

/// Where jobs run.
pub(super) const PLACE_FLAGS: &[Flag] = &[
    Flag::switch(&["--slurm"], "submit the jobs to SLURM"),
    Flag::one(
        &["--local"],
        "N",
        "run the jobs on this machine, N tasks at once; rerun the command to resume",
    ),
    Flag::one(
        &["-o"],
        "FOLDER",
        "folder for scripts, logs and submit.json (default: one in RESULTS/DATASET)",
    )
    .within(Group::Output),
];

/// What SLURM is told.
pub(super) const SLURM_FLAGS: &[Flag] = &[
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

/// Where jobs run.
pub(super) enum Place {
    /// On a cluster.
    Slurm(SlurmOptions),
    /// Here, so many tasks at once.
    Local(usize),
}

/// Where the user wants the jobs to run, if that was said.
pub(super) fn place(matches: &Matches) -> Result<Option<Place>, UsageError> {
    let given = SLURM_FLAGS.iter().find(|flag| matches.has(flag.key()));
    if let Some(flag) = given.filter(|_| !matches.has("--slurm")) {
        return Err(UsageError(format!("{} belongs to --slurm, which is not given", flag.key())));
    }
    match (matches.has("--slurm"), matches.at_least_one("--local")?) {
        (true, Some(_)) => Err(UsageError("--slurm and --local exclude each other".to_owned())),
        (true, None) => Ok(Some(Place::Slurm(slurm_options(matches)?))),
        (false, at_once) => Ok(at_once.map(Place::Local)),
    }
}

/// The folder for scripts and logs: that of `-o`, or `RESULTS/DATASET/<name>`.
pub(super) fn folder(
    matches: &Matches,
    session: &Session,
    dataset: &DatasetName,
    name: &str,
) -> anyhow::Result<PathBuf> {
    match matches.path("-o") {
        Some(folder) => absolute(&folder),
        None => absolute(&session.project.folders().results()?.join(dataset).join(name)),
    }
}

/// Prints the jobs, and writes the scripts if they are for a cluster.
pub(super) fn print_jobs(
    jobs: &JobGraph,
    place: Option<&Place>,
    folder: &Path,
    session: &Session,
) -> anyhow::Result<()> {
    if let Some(Place::Slurm(options)) = place {
        for script in session.project.write_scripts(jobs, &program()?, folder, options)? {
            session.message(&format!("wrote {}", script.display()));
        }
    }
    for job in &jobs.jobs {
        let needs: Vec<&str> = job.needs.iter().map(|need| jobs.jobs[*need].name.as_str()).collect();
        let after = if needs.is_empty() { String::new() } else { format!(", after {}", needs.join(", ")) };
        session.result(&format!("{}{after}", job.name));
        for task in &job.tasks {
            session.result(&format!("  nnunet {}", task.arguments.join(" ")));
        }
    }
    Ok(())
}

/// Submits the jobs or runs them here.
pub(super) fn run_jobs(
    jobs: &JobGraph,
    place: Place,
    folder: &Path,
    session: &Session,
) -> anyhow::Result<()> {
    let (project, program) = (&session.project, program()?);
    match place {
        Place::Slurm(options) => {
            let record = project.submit(jobs, &program, folder, &options)?;
            for job in &record.jobs {
                session.result(&format!("{:<12}{}", job.slurm_id.as_deref().unwrap_or_default(), job.name));
            }
            session.message(&format!(
                "scripts and submit.json are in {}, logs will be in logs",
                folder.display()
            ));
        }
        Place::Local(at_once) => {
            let threads = (session.threads.get() / at_once).max(1);
            let options = LocalOptions { program, at_once, threads };
            project.run_locally(jobs, folder, &options, session.ctx())?;
            let tasks: usize = jobs.jobs.iter().map(|job| job.tasks.len()).sum();
            session
                .message(&format!("{tasks} tasks are done, logs are in {}", folder.join("logs").display()));
        }
    }
    Ok(())
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("the path of this program is not known")
}

/// The three folders as arguments, so that a job finds them wherever it runs.
pub(super) fn folder_arguments(session: &Session) -> anyhow::Result<Vec<String>> {
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

/// The path from the root on.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{}: no such path", path.display()))
}
