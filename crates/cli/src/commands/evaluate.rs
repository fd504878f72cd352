//! `evaluate`: segmentations against references.

use std::sync::Arc;

use nnunet::evaluate::{FolderEvaluation, Metric, MetricBuilder, Metrics, Missing, Summary, choose};
use nnunet::parts::Named;
use nnunet::statistics::Bootstrap;
use nnunet::volumetry::{Subjects, VolumetryOptions};
use nnunet::{Classes, EvaluateJob, MissingPatternsJob};

use super::Entry;
use super::dataset_flags::{MAX_RAM, THREADS};
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::output;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::one(&["-djfile"], "FILE", "dataset.json of the dataset; with -pfile").within(Group::Input),
    Flag::one(&["-pfile"], "FILE", "plans.json of the predictions; with -djfile").within(Group::Input),
    Flag::many(&["-l"], "LABEL", "labels to evaluate, instead of -djfile and -pfile").within(Group::Input),
    Flag::one(&["-il"], "LABEL", "label to ignore; with -l").within(Group::Input),
    Flag::one(&["-o"], "FILE", "where to write the summary (default: summary.json next to the predictions, or missing_patterns.json)")
        .within(Group::Output),
    Flag::switch(&["--chill"], "evaluate the predictions that are there; do not fail if some are missing")
        .within(Group::Input),
    Flag::switch(
        &["--missing-patterns"],
        "PRED is what `nnunet predict --missing-patterns` wrote: Dice and volume bias for every set of missing \
         channels; the classes are those of the predictions",
    )
    .within(Group::Input),
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
        "add HD95 and ASSD (mm) and NSD at 1 mm, between the voxels of the surfaces; if only one of the two \
         is empty: inf, inf, 0",
    ),
    Flag::switch(
        &["--volumetry"],
        "add the volumes in ml (ml_pred, ml_ref) and their absolute (AVE, ml) and relative errors (RVE), \
         and compare them as measurements: bias, limits of agreement, effects, a verdict",
    ),
    Flag::one(
        &["--subjects"],
        "FILE",
        "table (tab-separated: case, subject, time, group, further strata) for changes over time and \
         effects of groups; with --volumetry",
    )
    .within(Group::Input),
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
        "write a table of all cases and classes; with --volumetry a second one, FILE with .volumetry before \
         its ending",
    )
    .within(Group::Output),
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
    if matches.has("--missing-patterns") {
        return missing_patterns(matches, session);
    }
    let registry = session.project.registry();
    let mut folders = FolderEvaluation::new(matches.required("GT")?, matches.required("PRED")?);
    folders.output = matches.path("-o");
    folders.missing = if matches.has("--chill") { Missing::Tolerated } else { Missing::Refused };
    folders.metrics = chosen_metrics(matches, &registry.metrics)?;
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

/// The evaluation that `--missing-patterns` asks for.
fn missing_patterns(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let other = [
        "-djfile",
        "-pfile",
        "-l",
        "-il",
        "--metrics",
        "--surface",
        "--volumetry",
        "--subjects",
        "--margin",
        "--threshold",
        "--bootstrap",
        "--seed",
    ];
    if let Some(flag) = other.into_iter().find(|flag| matches.has(flag)) {
        let text =
            format!("{flag} does not go with --missing-patterns: evaluate the folder of a pattern with it");
        return Err(UsageError(text).into());
    }
    let job = MissingPatternsJob {
        missing: if matches.has("--chill") { Missing::Tolerated } else { Missing::Refused },
        output: matches.path("-o"),
        table: matches.path("--tsv"),
        ..MissingPatternsJob::new(matches.required("GT")?, matches.required("PRED")?)
    };
    let table = session.project.missing_patterns(&job, session.ctx())?;
    table.text().iter().for_each(|line| session.result(line));
    session.wrote(&job.output_file());
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

/// Characters of the column of class names.
const CLASS_WIDTH: usize = 24;

/// Mean Dice and IoU per class, and what was asked for beyond; on a terminal no wider than that.
pub(super) fn print_table(summary: &Summary, session: &Session) {
    table(summary, output::columns()).iter().for_each(|line| session.result(line));
}

/// The table, line by line. Columns that do not fit into a line of `width` characters follow in a further table.
fn table(summary: &Summary, width: Option<usize>) -> Vec<String> {
    let names = summary.foreground_mean.added.entries().map(|(name, _)| name);
    let columns: Vec<&str> = ["Dice", "IoU"].into_iter().chain(names).collect();
    let classes: Vec<String> = summary.mean.iter().map(|(class, _)| class.key()).collect();
    let rows: Vec<&Metrics> =
        summary.mean.iter().map(|(_, metrics)| metrics).chain([&summary.foreground_mean]).collect();
    let value = |metrics: &Metrics, column: &str| match column {
        "Dice" => metrics.dice,
        "IoU" => metrics.iou,
        // A class may lack one that others have.
        added => metrics.added.get(added).unwrap_or(f64::NAN),
    };
    let names: Vec<&str> = classes.iter().map(String::as_str).chain(["mean of foreground"]).collect();
    let widths: Vec<usize> = columns.iter().map(|name| (name.chars().count() + 1).max(10)).collect();
    let mut lines = Vec::new();
    let mut first = 0;
    while first < columns.len() {
        let mut line = CLASS_WIDTH;
        let fits = |w: &&usize| {
            line += **w;
            width.is_none_or(|width| line <= width)
        };
        // At least one column, however narrow the terminal is.
        let last = first + widths[first..].iter().take_while(fits).count().max(1);
        let row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            format!("{name:<CLASS_WIDTH$}{}", cells.collect::<String>())
        };
        let mut cells = (first..last).map(|i| format!("{:>w$}", columns[i], w = widths[i]));
        lines.push(row("class", &mut cells));
        for (name, metrics) in names.iter().zip(&rows) {
            let mut cells =
                (first..last).map(|i| format!("{:>w$.4}", value(metrics, columns[i]), w = widths[i]));
            lines.push(row(name, &mut cells));
        }
        first = last;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_follow_in_a_further_table() {
        let metrics = r#""Dice": 0.5, "IoU": 0.25, "FN": 1, "FP": 1, "TN": 1, "TP": 1, "n_pred": 2, "n_ref": 2, "HD95": 1.5, "NSD_2mm": 1.0"#;
        let text = format!(
            r#"{{"foreground_mean": {{{metrics}}}, "mean": {{"1": {{{metrics}}}}}, "metric_per_case": []}}"#
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        std::fs::write(&path, text).unwrap();
        let summary = Summary::load(&path).unwrap();
        let heads = |width| -> Vec<Vec<String>> {
            let lines = table(&summary, width);
            assert!(lines.iter().all(|line| width.is_none_or(|w| line.len() <= w.max(34))), "{lines:?}");
            let heads = lines.iter().filter(|line| line.starts_with("class"));
            heads.map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
        };
        assert_eq!(heads(None), [["Dice", "IoU", "HD95", "NSD_2mm"]]);
        assert_eq!(heads(Some(64)), [["Dice", "IoU", "HD95", "NSD_2mm"]]);
        assert_eq!(heads(Some(54)), [vec!["Dice", "IoU", "HD95"], vec!["NSD_2mm"]]);
        assert_eq!(heads(Some(3)).len(), 4, "one column each");
        assert_eq!(table(&summary, Some(54)).len(), 6);
    }
}
