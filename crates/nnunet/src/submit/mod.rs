//! The whole method as a graph of jobs, for a SLURM cluster or for several processes on this machine.
//!
//! ```text
//! plan -> preprocess (a task for each part) -> train_CONFIGURATION (a task for each fold) -> find_best -> predict
//!                                              train_3d_lowres -> train_3d_cascade_fullres
//! train_CONFIGURATION (a task for each recipe and fold) -> compare                           of an experiment
//! ```
//!
//! Every task is a command line of the program, so that what is run can be read and run by hand.

mod error;
mod experiment;
mod graph;
mod local;
mod record;
mod script;
mod slurm;

pub use error::SubmitError;
pub use experiment::{ExperimentTasks, experiment_graph};
pub use graph::{Job, JobGraph, SubmitRequest, Task, graph};
pub use local::{LocalOptions, ask_to_stop, run_locally};
pub use record::{RECORD, Record, RecordedJob, TaskState};
pub use script::SlurmOptions;
pub use slurm::{submit, write_scripts};
