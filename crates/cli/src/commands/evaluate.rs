//! `evaluate`: segmentations against references.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use nnunet::evaluate::{FolderEvaluation, Metric, Metrics, Missing, Summary, choose, confidence, metrics};
use nnunet::files::write_atomic;
use nnunet::statistics::Bootstrap;
use nnunet::volumetry::{Subjects, VolumetryOptions, report};

use super::dataset_flags::{MAX_RAM, THREADS, max_ram};
use super::{Entry, writable};
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
    let mut request = FolderEvaluation::new(matches.required("GT")?, matches.required("PRED")?);
    request.output = matches.path("-o");
    request.missing = if matches.has("--chill") { Missing::Tolerated } else { Missing::Refused };
    request.metrics = chosen_metrics(matches)?;
    request.max_ram = max_ram(matches)?;
    let bootstrap = bootstrap(matches)?;
    let volumetry = volumetry(matches, bootstrap)?;
    let tables = matches.path("--tsv").map(|table| (volumes_beside(&table), table));
    let output = request.summary_file();
    writable::check_file(&output)?;
    if let Some((volumes, table)) = &tables {
        writable::check_file(table)?;
        if volumetry.is_some() {
            writable::check_file(volumes)?;
        }
    }
    let labels: Vec<i32> = matches.all_parsed("-l", "a label (whole number)")?;
    let ignore = matches.parsed("-il", "a label (whole number)")?;
    let mut summary = match (matches.path("-djfile"), matches.path("-pfile"), labels.is_empty()) {
        (Some(json), Some(plans), true) if ignore.is_none() => {
            request.of_dataset(&json, &plans, session.ctx())
        }
        (None, None, false) => request.of_labels(&labels, ignore, session.ctx()),
        _ => {
            let text = "give either -djfile and -pfile, or -l (and -il where a label is to be left out)";
            return Err(UsageError(text.to_owned()).into());
        }
    }
    .with_context(|| format!("evaluation of {}", request.prediction.display()))?;
    if matches.has("--bootstrap") {
        summary.sections.push(("confidence".to_owned(), confidence(&summary, &bootstrap)));
    }
    let volumes = volumetry.map(|options| report(&summary, &options)).transpose()?;
    if let Some(volumes) = &volumes {
        volumes.warnings.iter().for_each(|warning| session.warning(warning));
        summary.sections.push(("volumetry".to_owned(), volumes.to_json()));
    }
    summary.save(&output)?;
    if let Some((volumes_table, table)) = &tables {
        write_table(table, &summary.to_tsv())?;
        if let Some(volumes) = &volumes {
            write_table(volumes_table, &volumes.to_tsv())?;
        }
    }
    print_table(&summary, session);
    if let Some(volumes) = &volumes {
        volumes.text().iter().for_each(|line| session.result(line));
    }
    Ok(())
}

/// What `--metrics`, `--surface` and `--volumetry` ask for.
fn chosen_metrics(matches: &Matches) -> Result<Vec<Arc<dyn Metric>>, UsageError> {
    let mut names: Vec<&str> = Vec::new();
    if matches.has("--surface") {
        names.push("voxel_surface");
    }
    if matches.has("--volumetry") {
        names.push("volumes");
    }
    names.extend(matches.texts("--metrics").iter().map(String::as_str));
    choose(names, &metrics()).map_err(|error| UsageError(error.to_string()))
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

/// `results.volumetry.tsv` for `results.tsv`.
fn volumes_beside(table: &Path) -> PathBuf {
    let ending =
        table.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    table.with_extension(format!("volumetry{ending}"))
}

fn write_table(path: &Path, text: &str) -> anyhow::Result<()> {
    write_atomic(path, text.as_bytes()).with_context(|| format!("{}: could not be written", path.display()))
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
