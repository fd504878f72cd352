//! `compare`: trained models side by side.

use nnunet::compare::{CompareRequest, Comparison};
use nnunet::statistics::Bootstrap;

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(
        &["--baseline"],
        "NAME",
        "model that the others are compared with: TRAINER__PLANS__CONFIGURATION, or a trainer, plans or configuration \
         that only one model has (default: nnUNetTrainer__nnUNetPlans__3d_fullres, else the first nnUNetTrainer)",
    ),
    Flag::one(&["--bootstrap"], "N", "draws for each confidence interval (default: 2000)"),
];

/// How a comparison is printed.
pub(super) const TABLE_FLAGS: &[Flag] = &[
    Flag::switch(&["--json"], "print the comparison as JSON").within(Group::Output),
    Flag::switch(&["--tsv"], "print the comparison as tab-separated values").within(Group::Output),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "compare",
        reference_names: &[],
        summary: "compare all trained models of a dataset, with paired statistics over the cross-validation",
        description: "Lists the trained models and recipes of a dataset: mean Dice per class over the cross-validation \
                      and per fold, the difference to a baseline over the cases that both have (mean with its \
                      confidence interval, rank-biserial correlation, Wilcoxon's signed-rank test, corrected by Holm \
                      for several models), training time, and in what the recipes differ.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "DATASET", help: "dataset by id or name" }],
        flags: &[FLAGS, TABLE_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let form = Form::of(matches)?;
    let mut request = CompareRequest::new(session.project.dataset(matches.required("DATASET")?)?);
    request.baseline = matches.text("--baseline").map(str::to_owned);
    let what = "a number of draws of at least 1 (1000 or more are usual)";
    match matches.parsed("--bootstrap", what)? {
        Some(0) => return Err(UsageError(format!("argument --bootstrap: found 0, expected {what}")).into()),
        Some(resamples) => request.bootstrap = Bootstrap { resamples, ..request.bootstrap },
        None => {}
    }
    let comparison = session.project.compare(&request, session.ctx())?;
    form.print(&comparison, session);
    Ok(())
}

/// The form in which a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Tsv,
}

impl Form {
    /// The form that the flags ask for.
    pub(super) fn of(matches: &Matches) -> Result<Self, UsageError> {
        match (matches.has("--json"), matches.has("--tsv")) {
            (true, true) => Err(UsageError("--json and --tsv exclude each other".to_owned())),
            (true, false) => Ok(Self::Json),
            (false, true) => Ok(Self::Tsv),
            (false, false) => Ok(Self::Text),
        }
    }

    /// Prints a comparison.
    pub(super) fn print(self, comparison: &Comparison, session: &Session) {
        let text = match self {
            Self::Text => comparison.to_text(),
            Self::Json => comparison.to_json(),
            Self::Tsv => comparison.to_tsv(),
        };
        session.result(text.trim_end_matches('\n'));
    }
}
