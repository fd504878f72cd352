//! The jobs of an experiment: a task for each training, then the comparison.

use std::path::Path;

use nnunet_data::plan::Plans;

use super::error::SubmitError;
use super::graph::{JobGraph, Task, identifier};
use crate::experiment::{ExperimentRun, RunState};

/// What the jobs of an experiment are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentTasks<'a> {
    /// The experiment's file, which the tasks read again.
    pub file: &'a Path,
    /// Arguments of trainings: those on device and precision.
    pub training: &'a [String],
    /// Arguments that every command gets: those of the folders.
    pub common: &'a [String],
}

/// A job for each configuration, with a task for each of its `runs` that is not done, after that of its previous stage if the
/// experiment trains it; then the comparison. `plans` is the file of the plans.
///
/// # Errors
/// Plans that cannot be read, or lack a configuration.
pub fn experiment_graph(
    runs: &[ExperimentRun],
    plans: &Path,
    tasks: ExperimentTasks<'_>,
) -> Result<JobGraph, SubmitError> {
    let plans = Plans::read(plans)?;
    let file = tasks.file.display().to_string();
    let command = |label: String, words: &[String]| {
        let verb = ["experiment".to_owned(), file.clone()];
        Task { label, arguments: verb.iter().chain(words).chain(tasks.common).cloned().collect() }
    };
    let mut graph = JobGraph { jobs: Vec::new() };
    let mut jobs: Vec<(&str, usize)> = Vec::new();
    for run in runs {
        let configuration = run.configuration.as_str();
        if run.state == RunState::Done || jobs.iter().any(|(name, _)| *name == configuration) {
            continue;
        }
        let previous = plans.configuration(configuration)?.previous_stage;
        let needs = jobs.iter().filter(|(name, _)| previous.as_deref() == Some(name)).map(|(_, job)| *job);
        let trainings = runs
            .iter()
            .filter(|other| other.configuration == run.configuration && other.state != RunState::Done);
        let trainings = trainings.map(|training| {
            let only = ["--only".to_owned(), training.address()];
            command(training.to_string(), &[&only, tasks.training].concat())
        });
        let name = format!("train_{}", identifier(configuration));
        let job = graph.add(name, needs.collect(), true, trainings.collect());
        jobs.push((configuration, job));
    }
    let needs = jobs.into_iter().map(|(_, job)| job).collect();
    graph.add("compare".to_owned(), needs, false, vec![command("table".to_owned(), &[])]);
    Ok(graph)
}
