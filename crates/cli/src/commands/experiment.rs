//! `experiment`: a recipe and its variants, trained on the same folds and compared.

use anyhow::bail;
use nnunet::ExperimentJob;
use nnunet::experiment::Experiment;

use super::Entry;
use super::compare::{Form, TABLE_FLAGS};
use super::network_flags::{NETWORK_FLAGS, RECOMPUTE, STEP_MAX_RAM, backend};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches, Positional};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::switch(&["--dry-run"], "print what would be trained, and train nothing"),
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
                      does not stop the others.",
        after_interruption: Command::RESUME,
        positionals: &[Positional {
            name: "FILE",
            help: "the experiment: dataset = 4, folds = [0, 1], base = \"nnUNetTrainer\" (or a table [base]), and tables \
                   such as [variants.focal] with loss = \"focal\"",
        }],
        flags: &[FLAGS, TABLE_FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let form = Form::of(matches)?;
    let experiment = Experiment::read(matches.required("FILE")?.as_ref(), session.project.registry())?;
    if matches.has("--dry-run") {
        for run in session.project.experiment_runs(&experiment)? {
            session.result(&format!("{:<10}{run}", run.state.word()));
        }
        return Ok(());
    }
    let project =
        session.project.clone().with_backend(backend(matches, session, matches.has("--recompute"))?);
    let job = ExperimentJob { experiment };
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
