//! `report`: a dataset, an evaluation, a training or a comparison of models as one HTML page.

use std::path::PathBuf;

use nnunet::compare::CompareRequest;
use nnunet::{DatasetReport, EvaluationReport, ReportJob, ReportSubject, TrainingReport};

use super::Entry;
use super::dataset_flags::{GPU_MEMORY_TARGET, gpu_memory_target};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::one(&["-o"], "FILE", "where to write the page (default: report.html next to SUMMARY.json, in the FOLDER, or in the \
         dataset's folder of preprocessed data)").within(Group::Output),
    Flag::one(&["--figures"], "FOLDER", "also write every figure to this folder, as SVG").within(Group::Output),
    Flag::switch(&["--viewer"], "embed the volumes of the worst, median and best case and a viewer for them (NiiVue): 2.3 MB more, and the size of the files; with evaluation").within(Group::Output),
    Flag::one(&["-d"], "DATASET", "dataset, by id or name; with dataset or compare").within(Group::Input),
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans); with dataset").within(Group::Input),
    GPU_MEMORY_TARGET,
    Flag::one(&["-ref"], "FOLDER", "references, for the pictures (default: where the summary says); with evaluation or training").within(Group::Input),
    Flag::one(&["-pred"], "FOLDER", "predictions, for the pictures (default: where the summary says, or next to it); with evaluation").within(Group::Input),
    Flag::one(&["-images"], "FOLDER", "images, for the pictures; with evaluation or training (default with training: imagesTr of the raw dataset)").within(Group::Input),
    Flag::one(&["--baseline"], "NAME", "model that the others are compared with (default: as compare chooses it); with compare").within(Group::Input),
    Flag::one(&["-djfile"], "FILE", "dataset.json, for the names of classes (default: the one next to the summary); with evaluation").within(Group::Input),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "report",
        reference_names: &[],
        summary: "show a dataset, an evaluation, a training or a comparison of models as one HTML page",
        description: "Writes a page that holds everything it shows and opens offline. \
                      report dataset -d 4: sizes, intensities, volumes and components of each class, faults, the cases to look at \
                      first and why, and each value of the plans with its reason. \
                      report evaluation SUMMARY.json: a table of cases and classes, box plots, and the worst, median and best \
                      case with the contours of reference and prediction. \
                      report training FOLDER, of a model or of one of its folds: losses, pseudo-Dice, learning rate, time, \
                      waiting for batches, and the validation of each fold and class. \
                      report compare -d 4: all trained models of a dataset, their differences to a baseline, and in what they differ.",
        after_interruption: Command::START_AGAIN,
        positionals: &[
            Positional { name: "KIND", help: "dataset, evaluation, training or compare" },
            Positional { name: "[SUBJECT]", help: "the SUMMARY.json, or the FOLDER of the training" },
        ],
        flags: &[FLAGS, FOLDER_FLAGS, THREAD_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

/// Flags that only some kinds of report have.
const OF_KINDS: [(&str, &[&str]); 9] = [
    ("--viewer", &["evaluation"]),
    ("-d", &["dataset", "compare"]),
    ("--baseline", &["compare"]),
    ("-p", &["dataset"]),
    ("-gpu_memory_target", &["dataset"]),
    ("-ref", &["evaluation", "training"]),
    ("-pred", &["evaluation"]),
    ("-images", &["evaluation", "training"]),
    ("-djfile", &["evaluation"]),
];

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let job = ReportJob {
        subject: subject(matches, session)?,
        output: matches.text("-o").map(PathBuf::from),
        figures: matches.text("--figures").map(PathBuf::from),
    };
    let written = session.project.report(&job, session.ctx())?;
    let megabytes = written.bytes as f64 / 1e6;
    session.message(&format!("{}: {megabytes:.1} MB, {} figures", written.path.display(), written.figures));
    Ok(())
}

fn subject(matches: &Matches, session: &Session) -> anyhow::Result<ReportSubject> {
    let kind = matches.required("KIND")?;
    for (flag, kinds) in OF_KINDS {
        if matches.has(flag)
            && !kinds.contains(&kind)
            && ["dataset", "evaluation", "training", "compare"].contains(&kind)
        {
            return Err(UsageError(format!(
                "argument {flag}: not for report {kind}, only for {}",
                kinds.join(" and ")
            ))
            .into());
        }
    }
    let path = |flag: &str| matches.text(flag).map(PathBuf::from);
    let subject = matches.text("[SUBJECT]");
    let required = |what: &str| {
        subject
            .map(PathBuf::from)
            .ok_or_else(|| UsageError(format!("report {kind}: expected {what} behind it")))
    };
    Ok(match kind {
        "dataset" => {
            if let Some(found) = subject {
                let what = format!("report dataset: found {found:?} behind it; give the dataset with -d");
                return Err(UsageError(what).into());
            }
            let dataset = session.project.dataset(matches.required("-d")?)?;
            let plans = matches.text("-p").unwrap_or("nnUNetPlans").to_owned();
            DatasetReport { dataset, plans, gpu_memory_target_gb: gpu_memory_target(matches)? }.into()
        }
        "evaluation" => EvaluationReport {
            summary: required("the SUMMARY.json")?,
            references: path("-ref"),
            predictions: path("-pred"),
            images: path("-images"),
            viewer: matches.has("--viewer"),
            dataset_json: path("-djfile"),
        }
        .into(),
        "training" => TrainingReport {
            folder: required("the FOLDER of a model or of one of its folds")?,
            references: path("-ref"),
            images: path("-images"),
        }
        .into(),
        "compare" => {
            if let Some(found) = subject {
                let what = format!("report compare: found {found:?} behind it; give the dataset with -d");
                return Err(UsageError(what).into());
            }
            let mut request = CompareRequest::new(session.project.dataset(matches.required("-d")?)?);
            request.baseline = matches.text("--baseline").map(str::to_owned);
            request.into()
        }
        other => {
            let what =
                format!("argument KIND: found {other:?}, expected dataset, evaluation, training or compare");
            return Err(UsageError(what).into());
        }
    })
}
