//! The page of an evaluation.

use std::path::Path;

use maud::{Markup, html};
use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_dataset::{DatasetJson, ImageFormats};
use nnunet_infer::predict::quality::warned_in;

use super::charts::metric_boxes;
use super::files::CaseFiles;
use super::pictures::draw_cases;
use super::ranking::{rank, worst_median_best};
use super::tables::{case_table, mean_table};
use super::viewer::viewer_section;
use super::warned::warned_section;
use crate::classes::class_name;
use crate::error::ReportError;
use crate::page::{Page, Report};
use crate::picture::legend;
use crate::text::number;

/// An evaluation to report on.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationRequest<'a> {
    /// The summary.json.
    pub summary: &'a Path,
    /// Folder of the references; where the summary says if absent.
    pub references: Option<&'a Path>,
    /// Folder of the predictions; where the summary says, or beside the summary, if absent.
    pub predictions: Option<&'a Path>,
    /// Folder of the images, `CASE_0000.nii.gz`; pictures show contours alone if absent.
    pub images: Option<&'a Path>,
    /// Whether the page holds the volumes of these cases, with a viewer.
    pub viewer: bool,
    /// The dataset.json, for names of classes and the reader of the images; the one beside the summary if absent.
    pub dataset_json: Option<&'a Path>,
    /// Formats that images may have.
    pub formats: &'a ImageFormats,
}

/// Makes the page of an evaluation, with the warning scores of quality control where `qc.tsv` lies beside the summary or in the folder of the
/// predictions. Pictures that cannot be drawn are one warning for all.
///
/// # Errors
/// The summary or the dataset.json cannot be read.
pub fn evaluation_report(request: &EvaluationRequest<'_>, ctx: Ctx<'_>) -> Result<Report, ReportError> {
    let summary = Summary::load(request.summary)?;
    let folder = request.summary.parent().unwrap_or(Path::new(""));
    let beside = folder.join("dataset.json");
    let json = match request.dataset_json {
        Some(path) => Some(DatasetJson::load(path)?),
        None if beside.is_file() => Some(DatasetJson::load(&beside)?),
        None => None,
    };
    let names: Vec<String> = summary.mean.iter().map(|(class, _)| class_name(class, json.as_ref())).collect();
    let mut page = Page::new("Evaluation", request.summary.display().to_string());
    page.tile("Cases", summary.metric_per_case.len().to_string());
    page.tile("Mean Dice", number(summary.foreground_mean.dice));
    for (name, (_, metrics)) in names.iter().zip(&summary.mean) {
        page.tile(name.as_str(), number(metrics.dice));
    }
    page.section("Means", mean_table(&summary, &names).html());
    let boxes = page.figures(&metric_boxes(&summary, &names));
    page.section("Distribution over the cases", boxes);
    let ranked = rank(&summary);
    let files = CaseFiles {
        references: request.references,
        predictions: request.predictions,
        images: request.images,
        summary: Some(folder),
    };
    let chosen = worst_median_best(&ranked);
    let pictures = draw_cases(&chosen, &files, json.as_ref(), request.formats);
    let body = picture_section(&mut page, pictures, files.images.is_some(), ctx);
    page.section("Worst, median and best case", body);
    if request.viewer {
        let body = viewer_section(&chosen, &files, json.as_ref(), request.formats, ctx);
        page.viewer("Volumes", body);
    }
    let scored = request.predictions.unwrap_or(folder);
    let warned =
        warned_in(scored).map_err(|source| ReportError::Read { path: scored.join("qc.tsv"), source })?;
    if let Some(body) = warned_section(&warned, &summary) {
        page.section("Quality control", body);
    }
    page.section("All cases", case_table(&summary, &names).html());
    Ok(page.finish())
}

/// The pictures that were drawn, with their legend, and a warning for those that were not.
pub(crate) fn picture_section(
    page: &mut Page,
    pictures: Vec<Result<crate::figure::Figure, String>>,
    with_images: bool,
    ctx: Ctx<'_>,
) -> Markup {
    let (mut drawn, mut faults) = (Vec::new(), Vec::new());
    for picture in pictures {
        match picture {
            Ok(figure) => drawn.push(page.figure(&figure)),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        ctx.warning(&format!("pictures left out of the report: {}", faults.join("; ")));
    }
    html! {
        @if !drawn.is_empty() {
            (legend())
            @if !with_images { p.note { "The folder of the images was not given, so there are contours alone." } }
            div.figures { @for figure in &drawn { (figure) } }
        }
        @for fault in &faults { p.note { "Not drawn: " (fault) } }
        @if drawn.is_empty() && faults.is_empty() { p.note { "No case has a Dice that is defined." } }
    }
}
