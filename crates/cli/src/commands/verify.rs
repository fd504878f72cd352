//! `verify`: every fault of a dataset at once.

use std::path::Path;

use anyhow::bail;
use nnunet::dataset::repair::Outcome;
use nnunet::dataset::verify::{Report, Severity, verify};
use nnunet::progress::Interrupted;

use super::Entry;
use super::dataset_flags::{DATASETS, datasets};
use crate::environment::{FOLDER_FLAGS, path_variable};
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] =
    &[DATASETS, Flag::switch(&["--repair"], "repair what can be repaired without a doubt, see above")];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "verify",
        reference_names: &[],
        summary: "list every fault of a dataset",
        description: "Checks dataset.json, the files of all training cases and their content: missing \
                      channels and labels, shapes and geometry that do not match, label values that are not \
                      in dataset.json, values that are not finite, damaged files. Lists all faults at once \
                      and fails if there is one; warnings alone do not fail. \
                      --repair repairs what can be repaired without a doubt: numTraining in dataset.json \
                      becomes the number of cases; a label map whose corners lie within a tenth of a voxel of \
                      those of its image takes over the image's spacing, origin and direction; label maps of \
                      whole numbers stored as floating-point numbers are stored as integers. Values of voxels \
                      stay the same, images are never touched. Every file that is replaced is kept beside the \
                      new one as NAME.before_repair. Everything else is left and listed.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, THREAD_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    for dataset in datasets(matches, session)? {
        let folder = session.folders.raw()?.join(dataset.as_str());
        if matches.has("--repair") {
            repair(&folder, session)?;
        } else {
            check(&folder, session)?;
        }
    }
    Ok(())
}

/// Prints the faults of the dataset in `folder`; an error if it cannot be used.
pub(super) fn check(folder: &Path, session: &Session) -> anyhow::Result<()> {
    let report = list(folder, session)?;
    let left: Vec<Outcome> = report.faults.iter().map(|_| Outcome::Left).collect();
    show(folder, &report, &left, session);
    // Files that are no cases are warned about under the name of their folder.
    let listed = report.faults.iter().flat_map(|fault| [Some(fault.path.as_path()), fault.path.parent()]);
    session.display.has_reported(listed.flatten());
    conclude(folder, &report, &left, session)
}

/// Repairs what can be repaired and prints all faults; an error if one is left that forbids the use.
fn repair(folder: &Path, session: &Session) -> anyhow::Result<()> {
    let report = list(folder, session)?;
    let outcomes = nnunet::dataset::repair::repair(folder, &report);
    show(folder, &report, &outcomes, session);
    conclude(folder, &report, &outcomes, session)
}

fn list(folder: &Path, session: &Session) -> anyhow::Result<Report> {
    let report = verify(folder, path_variable, session.ctx());
    if report.interrupted {
        let what = format!("{}: interrupted before all cases were checked", folder.display());
        return Err(anyhow::Error::new(Interrupted).context(what));
    }
    Ok(report)
}

/// The table of faults: what became of each, its case, its file, what is wrong.
fn show(folder: &Path, report: &Report, outcomes: &[Outcome], session: &Session) {
    let rows: Vec<[String; 4]> = report
        .faults
        .iter()
        .zip(outcomes)
        .map(|(fault, outcome)| {
            let state = match (outcome, fault.problem.severity()) {
                (Outcome::Repaired, _) => "repaired",
                (_, Severity::Error) => "error",
                (_, Severity::Warning) => "warning",
            };
            let file = fault.path.strip_prefix(folder).unwrap_or(&fault.path).display().to_string();
            // Errors of files name them already.
            let problem = fault.problem.to_string();
            let start = format!("{}: ", fault.path.display());
            let mut problem = problem.strip_prefix(&start).unwrap_or(&problem).to_owned();
            if let Outcome::Failed(reason) = outcome {
                problem.push_str(&format!("; the repair failed: {reason}"));
            }
            [state.to_owned(), fault.case.clone().unwrap_or_default(), file, problem]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for [state, case, file, problem] in &rows {
        let [a, b, c] = widths;
        session.message(&format!("{state:<a$}  {case:<b$}  {file:<c$}  {problem}"));
    }
}

/// The last line, or the error, for what is left.
fn conclude(folder: &Path, report: &Report, outcomes: &[Outcome], session: &Session) -> anyhow::Result<()> {
    let left = || report.faults.iter().zip(outcomes).filter(|(_, outcome)| **outcome != Outcome::Repaired);
    let errors = left().filter(|(fault, _)| fault.problem.severity() == Severity::Error).count();
    let warnings = left().count() - errors;
    let repaired = match report.faults.len() - left().count() {
        0 => String::new(),
        count => format!("{count} repaired, "),
    };
    let folder = folder.display();
    let cases = report.cases;
    if errors > 0 {
        bail!(
            "{folder}: {repaired}{errors} faults and {warnings} warnings in {cases} cases; repair the faults listed above"
        );
    }
    session.message(&format!("{folder}: {cases} cases, {repaired}no faults, {warnings} warnings"));
    Ok(())
}
