//! Whole volumes of evaluated cases, for the viewer.

use std::path::Path;

use maud::{Markup, html};
use nnunet_base::Ctx;
use nnunet_dataset::{DatasetJson, ImageFormats};

use super::files::CaseFiles;
use super::ranking::{Ranked, case_name};
use crate::picture::Scans;
use crate::viewer::{Layer, ViewerCase, viewer};

/// The viewer with the files of `cases`, each with what it is among all (`worst`, ...). Cases whose files it cannot take are one
/// warning.
pub(super) fn viewer_section(
    cases: &[(&'static str, &Ranked<'_>)],
    files: &CaseFiles<'_>,
    json: Option<&DatasetJson>,
    formats: &ImageFormats,
    ctx: Ctx<'_>,
) -> Markup {
    let (mut taken, mut faults) = (Vec::new(), Vec::new());
    for (which, ranked) in cases {
        match case_of(which, ranked, files, json, formats) {
            Ok(case) => taken.push(case),
            Err(fault) => faults.push(format!("case {}: {fault}", case_name(ranked.case))),
        }
    }
    if !faults.is_empty() {
        ctx.warning(&format!("volumes left out of the report: {}", faults.join("; ")));
    }
    html! {
        @if !taken.is_empty() { (viewer(&taken)) }
        @for fault in &faults { p.note { "Left out: " (fault) } }
    }
}

fn case_of(
    which: &str,
    ranked: &Ranked<'_>,
    files: &CaseFiles<'_>,
    json: Option<&DatasetJson>,
    formats: &ImageFormats,
) -> Result<ViewerCase, String> {
    let reference = files.reference(ranked.case)?;
    let prediction = files.prediction(ranked.case)?;
    let scans = Scans::new(formats, json, &reference)?;
    let image = files.images.map(|folder| scans.first_channel(folder, &scans.case_of(&reference)));
    let mut layers: Vec<(Layer, &Path)> = image.iter().map(|path| (Layer::Image, path.as_path())).collect();
    layers.extend([(Layer::Reference, reference.as_path()), (Layer::Prediction, prediction.as_path())]);
    ViewerCase::read(format!("{which}: {}", case_name(ranked.case)), &layers)
}
