//! Overlays of all cases of a dataset, raw or preprocessed, as `CASE.png`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_volume::Volume;
use rayon::prelude::*;

use super::error::OverlayError;
use super::picture::{overlay, to_png};
use super::slice::slice_with_most_foreground;
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted, Progress};
use nnunet_data::preprocess::{StoredCase, read_labels, stored_cases};
use nnunet_dataset::cases::training_cases_with_warnings;
use nnunet_dataset::reader::ReadChannels;
use nnunet_dataset::{Case, DatasetJson, ImageFormats, ImageReader, LabelledImage};

/// What the overlays show and where they go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayRequest<'a> {
    /// Folder of the pictures, made if it does not exist.
    pub output: &'a Path,
    /// Channel that is shown, from 0.
    pub channel: usize,
    /// Brightness of the colours; 1 is as bright as the image.
    pub intensity: f64,
}

/// Draws the training cases of the raw dataset in `folder`, whose images have one of `formats`; returns how many.
///
/// # Errors
/// A folder that is no dataset; cases that cannot be read or drawn (all are named, the others are done);
/// interrupted.
pub fn raw_overlays(
    folder: &Path,
    formats: &ImageFormats,
    request: &OverlayRequest<'_>,
    ctx: Ctx<'_>,
) -> Result<usize, OverlayError> {
    let json = DatasetJson::load(&folder.join("dataset.json"))?;
    let cases = training_cases_with_warnings(folder, &json, ctx.progress)?;
    let example = cases.first().and_then(|case| case.images.first());
    let reader = ImageReader::for_example(formats, &json, example.map(|path| path.as_path()))?;
    draw_all(
        request,
        &cases,
        |case| &case.identifier,
        |case| raw_case(case, &reader, request, ctx.progress),
        ctx,
    )
}

/// Draws the preprocessed cases in `folder`; returns how many.
///
/// # Errors
/// A folder without preprocessed cases; cases that cannot be read or drawn (all are named, the others are
/// done); interrupted.
pub fn preprocessed_overlays(
    folder: &Path,
    request: &OverlayRequest<'_>,
    ctx: Ctx<'_>,
) -> Result<usize, OverlayError> {
    let cases = stored_cases(folder).map_err(|source| OverlayError::Preprocessed { source })?;
    if cases.is_empty() {
        return Err(OverlayError::NoCases { folder: folder.to_owned() });
    }
    draw_all(request, &cases, |case| case, |case| stored_case(case, folder, request), ctx)
}

/// One slice of a case.
struct Slice {
    image: Vec<f32>,
    labels: Vec<i16>,
    width: usize,
}

fn draw_all<C: Sync>(
    request: &OverlayRequest<'_>,
    cases: &[C],
    name: impl Fn(&C) -> &str + Sync,
    read: impl Fn(&C) -> Result<Slice, String> + Sync,
    ctx: Ctx<'_>,
) -> Result<usize, OverlayError> {
    ctx.event(Event::Started { stage: "overlay", total: cases.len() as u64 });
    let done = AtomicU64::new(0);
    let results: Vec<Option<Result<(), String>>> = cases
        .par_iter()
        .map(|case| {
            if ctx.is_cancelled() {
                return None;
            }
            let result = one_case(|| draw(&read(case)?, name(case), request));
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ctx.event(Event::Advanced { done, detail: name(case) });
            Some(result.map_err(|error| format!("case {}: {error}", name(case))))
        })
        .collect();
    ctx.event(Event::Finished);
    let mut faults = Vec::new();
    for result in results {
        faults.extend(result.ok_or(Interrupted)?.err());
    }
    if faults.is_empty() { Ok(cases.len()) } else { Err(OverlayError::Cases { faults, total: cases.len() }) }
}

fn draw(slice: &Slice, name: &str, request: &OverlayRequest<'_>) -> Result<(), String> {
    let path = request.output.join(format!("{name}.png"));
    let failed = |error: &dyn std::fmt::Display| format!("{}: cannot be written: {error}", path.display());
    let pixels = overlay(&slice.image, &slice.labels, request.intensity);
    let png = to_png(&pixels, slice.width).map_err(|error| failed(&error))?;
    write_atomic(&path, &png).map_err(|error| failed(&error))
}

fn raw_case(
    case: &Case,
    reader: &ImageReader,
    request: &OverlayRequest<'_>,
    progress: &dyn Progress,
) -> Result<Slice, String> {
    let path =
        case.images.get(request.channel).ok_or_else(|| no_channel(request.channel, case.images.len()))?;
    let label = case.label.as_deref().ok_or("there is no segmentation")?;
    let ReadChannels { data: image, geometry, .. } =
        reader.read_channels(path).map_err(|error| error.to_string())?;
    let labelled = LabelledImage { path, shape: image.shape(), geometry: &geometry };
    let labels = read_labels(reader, label, labelled, progress).map_err(|error| error.to_string())?;
    if image.shape() != labels.shape() {
        return Err(format!(
            "{} has shape {:?} (z, y, x), but {} has {:?}; verify lists all such faults",
            label.display(),
            labels.shape(),
            path.display(),
            image.shape()
        ));
    }
    let (at, labels) = chosen(&labels);
    let [_, y, x] = image.shape();
    let image = image.channel(0).chunks((y * x).max(1)).nth(at).unwrap_or_default();
    Ok(Slice { image: image.to_vec(), labels, width: x })
}

fn stored_case(name: &str, folder: &Path, request: &OverlayRequest<'_>) -> Result<Slice, String> {
    let failed = |error: nnunet_data::preprocess::PreprocessError| error.to_string();
    let case = StoredCase::open(folder, name).map_err(failed)?;
    if request.channel >= case.channels() {
        return Err(no_channel(request.channel, case.channels()));
    }
    let (at, mut labels) = chosen(&case.read_segmentation([0; 3], case.shape()).map_err(failed)?);
    // Outside of the nonzero mask.
    labels.iter_mut().for_each(|label| *label = (*label).max(0));
    let [_, y, x] = case.shape();
    let image = case.read_data([at, 0, 0], [1, y, x]).map_err(failed)?;
    Ok(Slice { image: image.channel(request.channel).to_vec(), labels, width: x })
}

/// The slice to show, and its labels.
fn chosen(labels: &Volume<i16>) -> (usize, Vec<i16>) {
    let [_, y, x] = labels.shape();
    let at = slice_with_most_foreground(labels);
    (at, labels.data().chunks((y * x).max(1)).nth(at).unwrap_or_default().to_vec())
}

fn no_channel(asked: usize, there: usize) -> String {
    format!("channel {asked} was asked for, there are {there} (from 0)")
}
