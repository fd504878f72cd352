//! Pictures of evaluated cases: contours of reference and prediction over the image.

use nnunet_dataset::{DatasetJson, ImageFormats};

use super::files::CaseFiles;
use super::ranking::{Ranked, case_name};
use crate::classes::class_name;
use crate::figure::Figure;
use crate::picture::{Outline, Role, Scans, View, draw_planes};
use crate::text::number;

/// Draws cases, each with what it is among all (`worst`, ...), and says for each that cannot be drawn why.
pub(crate) fn draw_cases(
    cases: &[(&'static str, &Ranked<'_>)],
    files: &CaseFiles<'_>,
    json: Option<&DatasetJson>,
    formats: &ImageFormats,
) -> Vec<Result<Figure, String>> {
    let draw_one = |(which, ranked): &(&'static str, &Ranked<'_>)| {
        draw(which, ranked, files, json, formats)
            .map_err(|error| format!("case {}: {error}", case_name(ranked.case)))
    };
    cases.iter().map(draw_one).collect()
}

fn draw(
    which: &str,
    ranked: &Ranked<'_>,
    files: &CaseFiles<'_>,
    json: Option<&DatasetJson>,
    formats: &ImageFormats,
) -> Result<Figure, String> {
    let reference_file = files.reference(ranked.case)?;
    let scans = Scans::new(formats, json, &reference_file)?;
    let reference = scans.labels(&reference_file)?;
    let prediction_file = files.prediction(ranked.case)?;
    let prediction = scans.labels(&prediction_file)?;
    let shape = reference.volume.shape();
    let same_shape = |found: [usize; 3], path: &std::path::Path| match found == shape {
        true => Ok(()),
        false => {
            Err(format!("{}: shape {found:?} (z, y, x), but its reference has {shape:?}", path.display()))
        }
    };
    same_shape(prediction.volume.shape(), &prediction_file)?;
    let image = match files.images {
        Some(folder) => {
            let path = scans.first_channel(folder, &scans.case_of(&reference_file));
            let image = scans.image(&path)?;
            same_shape(image.shape(), &path)?;
            Some(image)
        }
        None => None,
    };
    let outlines = [
        Outline { role: Role::Reference, labels: &reference.volume },
        Outline { role: Role::Prediction, labels: &prediction.volume },
    ];
    let spacing = reference.geometry.spacing_zyx();
    let view = View { image: image.as_ref(), shape, spacing, outlines: &outlines };
    let dice: Vec<String> = ranked
        .case
        .metrics
        .iter()
        .map(|(class, metrics)| format!("{} {}", class_name(class, json), number(metrics.dice)))
        .collect();
    let title = format!("{}: {}", capitalised(which), case_name(ranked.case));
    let caption = format!("Mean Dice {} ({}).", number(ranked.dice), dice.join(", "));
    Ok(draw_planes(&view, format!("case_{which}"), title, caption))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
