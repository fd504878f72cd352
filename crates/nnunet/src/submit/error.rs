//! What can go wrong with jobs.

use std::path::PathBuf;

use nnunet_base::lock::{FolderInUse, LockError};
use nnunet_base::progress::Interrupted;
use nnunet_data::plan::PlanError;
use nnunet_pyformats::json::JsonError;

/// Why jobs cannot be put together, submitted or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Without plans nobody knows which configurations there will be.
    #[error(
        "{plans}: there are no plans yet, which say what there is to train: name the configurations with -c, or make the \
         plans first with nnunet plan-and-preprocess --no_pp",
        plans = plans.display()
    )]
    NoConfigurations {
        /// Where the plans would be.
        plans: PathBuf,
    },
    /// Plans that the default planner does not make.
    #[error(
        "{plans}: no such plans, and the first job makes nnUNetPlans only; make them with nnunet plan-and-preprocess --no_pp",
        plans = plans.display()
    )]
    NoPlans {
        /// Where the plans would be.
        plans: PathBuf,
    },
    /// A configuration that the plans do not have.
    #[error("{plans}: there is no configuration {name:?}{suggestion}; the plans have {known}", plans = plans.display(),
        suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")))]
    UnknownConfiguration {
        /// The plans.
        plans: PathBuf,
        /// The configuration as given.
        name: String,
        /// The one that was probably meant.
        closest: Option<String>,
        /// Those that the plans have.
        known: String,
    },
    /// An option for SLURM that would end its line in the script.
    #[error("option {option} for SLURM: found {value:?}, expected one line without line breaks")]
    SeveralLines {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// A program of SLURM is missing or failed.
    #[error("{program}: {problem}{advice}")]
    Slurm {
        /// The program.
        program: &'static str,
        /// What it or the system said.
        problem: String,
        /// What to do, after a semicolon; empty where it follows from the problem.
        advice: &'static str,
    },
    /// Tasks of a local run failed.
    #[error(
        "{failed} of {all} tasks failed, {left_out} were left out because of them; the first is {first}, its log is {log}; \
         rerun the command to resume",
        log = log.display()
    )]
    TasksFailed {
        /// Number of tasks that failed.
        failed: usize,
        /// Number of tasks that need one of those.
        left_out: usize,
        /// Number of all tasks.
        all: usize,
        /// The first that failed.
        first: String,
        /// Its log.
        log: PathBuf,
    },
    /// A local run was stopped.
    #[error("interrupted after {done} of {all} tasks")]
    Interrupted {
        /// Tasks that are done.
        done: usize,
        /// All tasks.
        all: usize,
        /// Somebody asked to stop.
        source: Interrupted,
    },
    /// Another run works in the folder.
    #[error(transparent)]
    InUse(#[from] FolderInUse),
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The record of an earlier run cannot be read or written.
    #[error(transparent)]
    Record(#[from] JsonError),
    /// A record that is none.
    #[error("{path}: not a record of jobs; remove it to start anew", path = path.display())]
    NoRecord {
        /// The file.
        path: PathBuf,
    },
    /// The plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl SubmitError {
    /// Says at which path the system failed.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}

impl From<LockError> for SubmitError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse(error) => Self::InUse(error),
            LockError::Io { path, source } => Self::Io { path, source },
        }
    }
}
