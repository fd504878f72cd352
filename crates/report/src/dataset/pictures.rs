//! Pictures of the cases to look at first.

use nnunet_dataset::{DatasetJson, ImageFormats};

use super::outliers::{Suspicion, diverse};
use super::survey::{CaseSurvey, Survey};
use crate::figure::Figure;
use crate::picture::{Outline, Role, Scans, View, draw_planes};

/// Pictures of `count` suspicious cases, as many kinds of reasons among them as possible, and for each that cannot be drawn why.
pub(super) fn of_suspicious(
    survey: &Survey,
    suspicions: &[Suspicion],
    json: &DatasetJson,
    formats: &ImageFormats,
    count: usize,
) -> Vec<Result<Figure, String>> {
    let case_of = |suspicion: &Suspicion| survey.cases.iter().find(|case| case.identifier == suspicion.case);
    diverse(suspicions, count)
        .into_iter()
        .filter_map(|suspicion| Some((suspicion, case_of(suspicion)?)))
        .enumerate()
        .map(|(number, (suspicion, case))| {
            draw(number, suspicion, case, json, formats)
                .map_err(|error| format!("case {}: {error}", suspicion.case))
        })
        .collect()
}

fn draw(
    number: usize,
    suspicion: &Suspicion,
    case: &CaseSurvey,
    json: &DatasetJson,
    formats: &ImageFormats,
) -> Result<Figure, String> {
    let scans = Scans::new(formats, Some(json), &case.image)?;
    let image = scans.image(&case.image)?;
    let labels = scans.labels(&case.label)?;
    if image.shape() != labels.volume.shape() {
        return Err(format!("{}: no longer has the shape of its image", case.label.display()));
    }
    let outlines = [Outline { role: Role::Reference, labels: &labels.volume }];
    let view = View { image: Some(&image), shape: image.shape(), spacing: case.spacing, outlines: &outlines };
    let name = format!("case_to_look_at_{}", number + 1);
    Ok(draw_planes(&view, name, case.identifier.clone(), format!("{}.", suspicion.text())))
}
