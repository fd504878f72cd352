//! `verify`: every fault of a dataset at once.

use nnunet::dataset::repair::Outcome;
use nnunet::dataset::verify::Severity;
use nnunet::hint::join;
use nnunet::{DatasetName, Verification, VerifyJob};

use super::Entry;
use super::dataset_flags::{DATASETS, datasets};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches};
use crate::hints;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    DATASETS,
    Flag::switch(&["--repair"], "repair what can be repaired safely, see above").within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "verify",
        reference_names: &[],
        summary: "list every fault of a dataset",
        description: "Checks dataset.json, the files of all training cases and their content: missing channels and \
                      labels, shapes and geometry that do not match, label values that are not in dataset.json, values \
                      that are not finite, damaged files. Lists all faults at once and fails if there are any; warnings \
                      alone do not fail. --repair repairs what can be repaired safely: numTraining in dataset.json \
                      becomes the number of cases; a label map whose corners lie within a tenth of a voxel of its \
                      image's takes over the image's spacing, origin and direction; label maps of whole numbers stored \
                      as floating-point numbers are stored as integers. Voxel values stay the same, and images are never \
                      touched. Every file that is replaced is kept next to the new one as NAME.before_repair. Everything \
                      else is only listed.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, THREAD_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    for dataset in datasets(matches, session)? {
        let job = VerifyJob { dataset, repair: matches.has("--repair") };
        let found = session.project.verify(&job, session.ctx())?;
        show(&found, session);
        conclude(&found, session)?;
    }
    Ok(())
}

/// Lists the faults of a dataset before it is used; an error if it cannot be. What is listed is not warned of again.
pub(super) fn check(dataset: &DatasetName, session: &Session) -> anyhow::Result<()> {
    let job = VerifyJob { dataset: dataset.clone(), repair: false };
    let found = session.project.verify(&job, session.ctx())?;
    show(&found, session);
    // Files that are no cases are warned about under the name of their folder.
    let faults = &found.report.faults;
    let listed = faults.iter().flat_map(|fault| [Some(fault.path.as_path()), fault.path.parent()]);
    session.display.has_reported(listed.flatten());
    conclude(&found, session)
}

/// The table of faults: what became of each, its case, its file, what is wrong.
fn show(found: &Verification, session: &Session) {
    let rows: Vec<[String; 4]> = found
        .faults()
        .map(|(fault, outcome)| {
            let state = match (outcome, fault.problem.severity()) {
                (Outcome::Repaired, _) => "repaired",
                (_, Severity::Error) => "error",
                (_, Severity::Warning) => "warning",
            };
            let file = fault.path.strip_prefix(&found.folder).unwrap_or(&fault.path).display().to_string();
            // Errors of files name them already.
            let problem = fault.problem.to_string();
            let start = format!("{}: ", fault.path.display());
            let mut problem = problem.strip_prefix(&start).unwrap_or(&problem).to_owned();
            if let Some(words) = hints::of(&fault.problem) {
                problem = join(&problem, &words);
            }
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
fn conclude(found: &Verification, session: &Session) -> anyhow::Result<()> {
    found.usable()?;
    let repaired = match found.repaired() {
        0 => String::new(),
        count => format!("{count} repaired, "),
    };
    session.message(&format!(
        "{}: {} cases, {repaired}no faults, {} warnings",
        found.folder.display(),
        found.report.cases,
        found.warnings()
    ));
    Ok(())
}
