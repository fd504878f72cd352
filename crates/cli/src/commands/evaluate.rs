//! `evaluate`: segmentations against references.

use std::sync::Arc;

use nnunet::evaluate::{FolderEvaluation, Metric, MetricBuilder, Metrics, Missing, Summary, choose};
use nnunet::parts::Named;
use nnunet::statistics::Bootstrap;
use nnunet::volumetry::{Subjects, VolumetryOptions};
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
    Flag::one(
        &["--metrics"],
        "LIST",
        "add metrics, separated by commas: hd, hd95, assd, masd (mm), nsd@MM (surface Dice), lesions[@gli|met|men|ped|ssa] (BraTS 2023), \
         pq[@IOU] (panoptic quality), cldice, betti, ece[@BINS] and brier (from .npz of --save_probabilities)",
    ),
    Flag::switch(
        &["--surface"],
        "add HD95 and ASSD (mm) and NSD at 1 mm, between the voxels of the surfaces; empty against not: inf, inf, 0",
    ),
    Flag::switch(
        &["--volumetry"],
        "add the volumes in ml (ml_pred, ml_ref), the absolute (AVE, ml) and relative volume error (RVE), and compare \
         them as measurements: bias, limits of agreement, effects, a verdict",
    ),
    Flag::one(
        &["--subjects"],
        "FILE",
        "table (tab-separated: case, subject, time, group, further strata) for changes over time and effects of groups; \
         with --volumetry",
    ),
    Flag::one(
        &["--margin"],
        "PERCENT",
        "mean volume error that does not matter, for the test of equivalence (default: 5); with --volumetry",
    ),
    Flag::one(
        &["--threshold"],
        "PERCENT",
        "change of a subject's volume that matters (default: 25); with --volumetry",
    ),
    Flag::one(&["--bootstrap"], "N", "add confidence intervals of all means from N draws of cases"),
    Flag::one(&["--seed"], "N", "seed of these draws (default: 0)"),
    Flag::one(
        &["--tsv"],
        "FILE",
        "write a table of all cases and classes; with --volumetry a second one, FILE with .volumetry before its ending",
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
    let registry = session.project.registry();
    let mut folders = FolderEvaluation::new(matches.required("GT")?, matches.required("PRED")?);
    folders.output = matches.path("-o");
    folders.missing = if matches.has("--chill") { Missing::Tolerated } else { Missing::Refused };
    folders.metrics = chosen_metrics(matches, &registry.metrics)?;
    folders.max_ram = max_ram(matches)?;
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
    let bootstrap = bootstrap(matches)?;
    let job = EvaluateJob {
        folders,
        classes,
        volumetry: volumetry(matches, bootstrap)?,
        confidence: matches.has("--bootstrap").then_some(bootstrap),
        table: matches.path("--tsv"),
    };
    let evaluated = session.project.evaluate(&job, session.ctx())?;
    print_table(&evaluated.summary, session);
    if let Some(volumes) = &evaluated.volumes {
        volumes.text().iter().for_each(|line| session.result(line));
    }
    Ok(())
}

/// What `--metrics`, `--surface` and `--volumetry` ask for.
fn chosen_metrics(
    matches: &Matches,
    known: &Named<MetricBuilder>,
) -> Result<Vec<Arc<dyn Metric>>, UsageError> {
    let mut names: Vec<&str> = Vec::new();
    if matches.has("--surface") {
        names.push("voxel_surface");
    }
    if matches.has("--volumetry") {
        names.push("volumes");
    }
    names.extend(matches.texts("--metrics").iter().map(String::as_str));
    choose(names, known).map_err(|error| UsageError(error.to_string()))
}

fn bootstrap(matches: &Matches) -> Result<Bootstrap, UsageError> {
    let default = Bootstrap::default();
    let resamples = matches.parsed("--bootstrap", "a number of draws (1000 or more are usual)")?;
    if resamples == Some(0) {
        return Err(UsageError("--bootstrap: found 0, expected at least 1 draw".to_owned()));
    }
    let seed = matches.parsed("--seed", "a whole number of at least 0")?;
    Ok(Bootstrap { resamples: resamples.unwrap_or(default.resamples), seed: seed.unwrap_or(default.seed) })
}

/// What `--volumetry` and the flags that belong to it ask for; the table of subjects is read before the segmentations.
fn volumetry(matches: &Matches, bootstrap: Bootstrap) -> anyhow::Result<Option<VolumetryOptions>> {
    if !matches.has("--volumetry") {
        let lost = ["--subjects", "--margin", "--threshold"].into_iter().find(|flag| matches.has(flag));
        return match lost {
            Some(flag) => {
                Err(UsageError(format!("{flag} belongs to --volumetry, which is not given")).into())
            }
            None => Ok(None),
        };
    }
    let default = VolumetryOptions::default();
    let share = |flag: &str, default: f64| -> Result<f64, UsageError> {
        match matches.parsed::<f64>(flag, "a number in percent")? {
            None => Ok(default),
            Some(percent) if percent.is_finite() && percent > 0.0 => Ok(percent / 100.0),
            Some(found) => {
                Err(UsageError(format!("{flag}: found {found}, expected a number above 0, in percent")))
            }
        }
    };
    Ok(Some(VolumetryOptions {
        subjects: matches.path("--subjects").map(|path| Subjects::load(&path)).transpose()?,
        margin: share("--margin", default.margin)?,
        threshold: share("--threshold", default.threshold)?,
        bootstrap,
    }))
}

/// Mean Dice and IoU per class, and what was asked for beyond.
pub(super) fn print_table(summary: &Summary, session: &Session) {
    let width = |name: &str| (name.chars().count() + 1).max(10);
    let names: Vec<&str> = summary.foreground_mean.added.entries().map(|(name, _)| name).collect();
    let added: String = names.iter().map(|name| format!("{name:>w$}", w = width(name))).collect();
    session.result(&format!("{:<24}{:>10}{:>10}{added}", "class", "Dice", "IoU"));
    let row = |name: &str, metrics: &Metrics| {
        let added: String =
            metrics.added.entries().map(|(name, value)| format!("{value:>w$.4}", w = width(name))).collect();
        session.result(&format!("{name:<24}{:>10.4}{:>10.4}{added}", metrics.dice, metrics.iou));
    };
    for (class, metrics) in &summary.mean {
        row(&class.key(), metrics);
    }
    row("mean of foreground", &summary.foreground_mean);
}
