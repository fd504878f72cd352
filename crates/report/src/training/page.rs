//! The page of a training.

use std::path::Path;

use maud::html;
use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_dataset::{DatasetJson, ImageFormats, LabelManager};
use nnunet_train::history::History;

use super::curves::curves;
use super::fold::{FoldRecord, read_folds};
use crate::classes::class_name;
use crate::error::ReportError;
use crate::evaluation::{
    CaseFiles, case_table, draw_cases, mean_table, metric_boxes, picture_section, rank, worst_median_best,
};
use crate::page::{Page, Report};
use crate::table::{Cell, Table};
use crate::text::{counted, number};

/// A training to report on.
#[derive(Debug, Clone, Copy)]
pub struct TrainingRequest<'a> {
    /// The folder of a model, or of one of its folds.
    pub folder: &'a Path,
    /// Folder of the references; where the evaluation says if absent.
    pub references: Option<&'a Path>,
    /// Folder of the images; pictures show contours alone if absent.
    pub images: Option<&'a Path>,
    /// Formats that images may have.
    pub formats: &'a ImageFormats,
}

/// Makes the page of a training. Pictures that cannot be drawn are one warning for all.
///
/// # Errors
/// A folder without a training; a checkpoint, summary or dataset.json that cannot be read.
pub fn training_report(request: &TrainingRequest<'_>, ctx: Ctx<'_>) -> Result<Report, ReportError> {
    let (model, folds) = read_folds(request.folder)?;
    let json = model.join("dataset.json");
    let json = json.is_file().then(|| DatasetJson::load(&json)).transpose()?;
    let classes: Vec<String> = match &json {
        Some(json) => {
            LabelManager::new(json)?.foreground().iter().map(|c| class_name(c, Some(json))).collect()
        }
        None => Vec::new(),
    };
    let title =
        model.file_name().map_or_else(|| "Training".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut page = Page::new(title, request.folder.display().to_string());
    let pooled = pooled(&folds);
    tiles(&mut page, &folds, pooled.as_ref());
    page.section("Folds", fold_table(&folds).html());
    for fold in &folds {
        let title = format!("Curves of {}", fold.name.replace('_', " "));
        let body = match &fold.history {
            Some(history) if history.complete_epochs() > 0 => page.figures(&curves(fold, history, &classes)),
            _ => html! { p.note { "No epoch is in a checkpoint." } },
        };
        let without_waiting = !fold.waiting.iter().any(|share| share.is_finite());
        page.section(title, html! {
            (body)
            @if without_waiting { p.note { "The logs do not tell how long the training waited for batches." } }
        });
    }
    match &pooled {
        Some(summary) => validation(&mut page, request, &folds, summary, json.as_ref(), ctx),
        None => page.section("Validation", html! { p.note { "There is no validation yet." } }),
    }
    Ok(page.finish())
}

/// The validation cases of all folds; none if there are none, or of different classes.
fn pooled(folds: &[FoldRecord]) -> Option<Summary> {
    let all: Vec<&Summary> = folds.iter().filter_map(|fold| fold.validation.as_ref()).collect();
    let classes = |summary: &Summary| summary.mean.iter().map(|(class, _)| class.clone()).collect::<Vec<_>>();
    let first = classes(all.first()?);
    let same = all.iter().all(|summary| classes(summary) == first);
    same.then(|| Summary::new(all.iter().flat_map(|summary| summary.metric_per_case.clone()).collect()))
}

fn tiles(page: &mut Page, folds: &[FoldRecord], pooled: Option<&Summary>) {
    page.tile("Folds", folds.len().to_string());
    if let Some(summary) = pooled {
        page.tile("Validation cases", summary.metric_per_case.len().to_string());
        page.tile("Mean Dice", number(summary.foreground_mean.dice));
    }
    let histories = || folds.iter().filter_map(|fold| fold.history.as_ref());
    let epochs: usize = histories().map(History::complete_epochs).sum();
    let seconds: f64 = histories().flat_map(seconds_of).sum();
    page.tile("Epochs", epochs.to_string());
    page.tile("Time in epochs", duration(seconds));
}

fn seconds_of(history: &History) -> impl Iterator<Item = f64> {
    let both = history.epoch_end_timestamps.iter().zip(&history.epoch_start_timestamps);
    both.map(|(end, start)| end - start).take(history.complete_epochs())
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// What became of each fold.
fn fold_table(folds: &[FoldRecord]) -> Table {
    let row = |fold: &FoldRecord| {
        let history = fold.history.as_ref();
        let epochs = history.map_or(0, History::complete_epochs);
        let last = |values: fn(&History) -> &Vec<f64>| {
            Cell::Number(history.and_then(|h| values(h)[..epochs].last().copied()).unwrap_or(f64::NAN))
        };
        let best =
            history.map_or(f64::NAN, |h| h.ema_fg_dice[..epochs].iter().copied().fold(f64::NAN, f64::max));
        let seconds: Vec<f64> = history.into_iter().flat_map(seconds_of).collect();
        let waiting: Vec<f64> = fold.waiting.iter().copied().filter(|share| share.is_finite()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let validation = fold.validation.as_ref();
        vec![
            Cell::from(fold.name.replace('_', " ")),
            if fold.is_complete { "complete" } else { "not complete" }.into(),
            Cell::Number(epochs as f64),
            last(|h| &h.train_losses),
            last(|h| &h.val_losses),
            Cell::Number(best),
            Cell::Number(mean(&seconds)),
            Cell::Number(100.0 * mean(&waiting)),
            Cell::Number(validation.map_or(f64::NAN, |summary| summary.metric_per_case.len() as f64)),
            Cell::Number(validation.map_or(f64::NAN, |summary| summary.foreground_mean.dice)),
        ]
    };
    let columns = [
        "Fold",
        "Training",
        "Epochs",
        "Training loss",
        "Validation loss",
        "Best moving average",
        "Seconds per epoch",
        "Waiting (%)",
        "Validation cases",
        "Mean Dice",
    ];
    Table {
        caption: "Losses are those of the last epoch; Dice is that of whole validation cases".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: folds.iter().map(row).collect(),
    }
}

fn validation(
    page: &mut Page,
    request: &TrainingRequest<'_>,
    folds: &[FoldRecord],
    summary: &Summary,
    json: Option<&DatasetJson>,
    ctx: Ctx<'_>,
) {
    let names: Vec<String> = summary.mean.iter().map(|(class, _)| class_name(class, json)).collect();
    let boxes = page.figures(&metric_boxes(summary, &names));
    let of_folds = (folds.len() > 1).then(|| dice_per_fold(folds, &names).html());
    page.section(
        "Validation",
        html! {
            p.note {
                (counted(summary.metric_per_case.len(), "case")) " of " (counted(folds.len(), "fold"))
                ", each predicted by a network that was not trained on it."
            }
            @if let Some(table) = &of_folds { (table) }
            (mean_table(summary, &names).html())
            (boxes)
        },
    );
    let ranked = rank(summary);
    // Predictions of a fold whose folder was moved lie beside its summary.
    let mut pictures = Vec::new();
    for shown in worst_median_best(&ranked) {
        let fold = folds.iter().find(|fold| {
            fold.validation.as_ref().is_some_and(|summary| summary.metric_per_case.contains(shown.1.case))
        });
        let folder = fold.map(|fold| fold.folder.join("validation"));
        let files = CaseFiles {
            references: request.references,
            predictions: None,
            images: request.images,
            summary: folder.as_deref(),
        };
        pictures.extend(draw_cases(&[shown], &files, json, request.formats));
    }
    let body = picture_section(page, pictures, request.images.is_some(), ctx);
    page.section("Worst, median and best case", body);
    page.section("All validation cases", case_table(summary, &names).html());
}

fn dice_per_fold(folds: &[FoldRecord], names: &[String]) -> Table {
    let row = |fold: &FoldRecord| {
        let dice = |class: usize| {
            let metrics = fold.validation.as_ref().and_then(|summary| summary.mean.get(class));
            Cell::Number(metrics.map_or(f64::NAN, |(_, metrics)| metrics.dice))
        };
        std::iter::once(Cell::from(fold.name.replace('_', " "))).chain((0..names.len()).map(dice)).collect()
    };
    Table {
        caption: "Mean Dice of each fold and class".to_owned(),
        columns: std::iter::once("Fold".to_owned()).chain(names.iter().cloned()).collect(),
        rows: folds.iter().map(row).collect(),
    }
}
