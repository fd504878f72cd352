//! `evaluate`: segmentations against references.

use nnunet::evaluate::{Additions, FolderEvaluation, Metrics, Missing, Summary};
use nnunet::{Classes, EvaluateJob};

use super::Entry;
use super::dataset_flags::{MAX_RAM, THREADS, max_ram};
use crate::flags::{Command, Flag, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-djfile"], "FILE", "dataset.json of the dataset; with -pfile"),
    Flag::one(&["-pfile"], "FILE", "plans.json of the predictions; with -djfile"),
    Flag::many(&["-l"], "LABEL", "labels to evaluate, instead of -djfile and -pfile"),
    Flag::one(&["-il"], "LABEL", "label to leave out of the evaluation; with -l"),
    Flag::one(&["-o"], "FILE", "where to write the summary (default: summary.json beside the predictions)"),
    Flag::switch(&["--chill"], "do not fail if predictions are missing; evaluate what is there"),
    THREADS,
    MAX_RAM,
    Flag::switch(
        &["--surface"],
        "add HD95 and ASSD (mm) and NSD at 1 mm, between the voxels of the surfaces; empty against not: inf, inf, 0",
    ),
    Flag::switch(
        &["--volumetry"],
        "add the volumes in ml (ml_pred, ml_ref), the absolute (AVE, ml) and relative volume error (RVE)",
    ),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "evaluate",
        reference_names: &["nnUNetv2_evaluate_folder", "nnUNetv2_evaluate_simple"],
        summary: "compare segmentations with references: Dice, IoU, counts",
        description: "Compares every reference segmentation with the prediction of the same name and writes \
                      Dice, IoU and voxel counts per case and class to summary.json. Classes come from \
                      dataset.json (-djfile, -pfile) or from the list of labels (-l).",
        after_interruption: Command::START_AGAIN,
        positionals: &[
            Positional { name: "GT", help: "folder of reference segmentations" },
            Positional { name: "PRED", help: "folder of predicted segmentations" },
        ],
        flags: &[FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let labels: Vec<i32> = matches.all_parsed("-l", "a label (whole number)")?;
    let ignore = matches.parsed("-il", "a label (whole number)")?;
    let classes = match (matches.path("-djfile"), matches.path("-pfile"), labels.is_empty()) {
        (Some(dataset_json), Some(plans), true) if ignore.is_none() => {
            Classes::OfDataset { dataset_json, plans }
        }
        (None, None, false) => Classes::Labels { labels, ignore },
        _ => {
            let text = "give either -djfile and -pfile, or -l (and -il where a label is to be left out)";
            return Err(UsageError(text.to_owned()).into());
        }
    };
    let folders = FolderEvaluation {
        parts: session.project.registry().data.clone(),
        reference: matches.required("GT")?.into(),
        prediction: matches.required("PRED")?.into(),
        output: matches.path("-o"),
        missing: if matches.has("--chill") { Missing::Tolerated } else { Missing::Refused },
        additions: Additions { surface: matches.has("--surface"), volumetry: matches.has("--volumetry") },
        max_ram: max_ram(matches)?,
    };
    let summary = session.project.evaluate(&EvaluateJob { folders, classes }, session.ctx())?;
    print_table(&summary, session);
    Ok(())
}

/// Mean Dice and IoU per class, and what was asked for beyond.
pub(super) fn print_table(summary: &Summary, session: &Session) {
    let added: String =
        summary.foreground_mean.added.entries().map(|(name, _)| format!("{name:>10}")).collect();
    session.result(&format!("{:<24}{:>10}{:>10}{added}", "class", "Dice", "IoU"));
    let row = |name: &str, metrics: &Metrics| {
        let added: String = metrics.added.entries().map(|(_, value)| format!("{value:>10.4}")).collect();
        session.result(&format!("{name:<24}{:>10.4}{:>10.4}{added}", metrics.dice, metrics.iou));
    };
    for (class, metrics) in &summary.mean {
        row(&class.key(), metrics);
    }
    row("mean of foreground", &summary.foreground_mean);
}
