//! Postprocessing of a folder of segmentations.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_volume::Volume;
use rayon::prelude::*;

use super::error::PostprocessError;
use super::step::Postprocessing;
use nnunet_base::Ctx;
use nnunet_base::one_case::named_case;
use nnunet_base::progress::{Event, Interrupted, Progress};
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::ImageReader;

/// Applies `postprocessing` to every segmentation of `input` and writes them to `output`, with dataset.json
/// and plans.json. Returns the number of voxels that were removed from all.
///
/// # Errors
/// No segmentations; some that cannot be read or written (all are named, the others are done); interrupted.
pub fn apply_to_folder(
    postprocessing: &Postprocessing,
    input: &PredictionFolder,
    output: &Path,
    ctx: Ctx<'_>,
) -> Result<usize, PostprocessError> {
    let files = input.segmentations()?;
    std::fs::create_dir_all(output).map_err(PostprocessError::io(output))?;
    input.write_companions(output).map_err(PostprocessError::io(output))?;
    ctx.event(Event::Started { stage: "postprocess", total: files.len() as u64 });
    let done = AtomicU64::new(0);
    let results: Vec<Option<Result<usize, String>>> = files
        .par_iter()
        .map(|file| {
            if ctx.is_cancelled() {
                return None;
            }
            let name = file.file_name().unwrap_or_default();
            let removed = named_case(file.display(), || {
                apply_to_file(postprocessing, &input.reader, file, &output.join(name), ctx.progress)
            });
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ctx.event(Event::Advanced { done, detail: &name.to_string_lossy() });
            Some(removed)
        })
        .collect();
    ctx.event(Event::Finished);
    let mut removed = 0;
    let mut faults = Vec::new();
    for result in results {
        match result.ok_or(Interrupted)? {
            Ok(voxels) => removed += voxels,
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(removed) } else { Err(PostprocessError::Cases { faults, total: files.len() }) }
}

/// Reads, changes and writes one segmentation; the error is a line that names the file.
fn apply_to_file(
    postprocessing: &Postprocessing,
    reader: &ImageReader,
    input: &Path,
    output: &Path,
    progress: &dyn Progress,
) -> Result<usize, String> {
    let mut image = reader.read(input).map_err(|error| error.to_string())?;
    if let Some((_, value)) = image.volume.first_non_label(0.0..=f32::from(u16::MAX)) {
        return Err(format!("{}: found the value {value}, expected a segmentation", input.display()));
    }
    for warning in image.voxel_warnings() {
        progress.event(Event::Warning(&format!("{}: {warning}", input.display())));
    }
    let removed = postprocessing.apply(&mut image.volume);
    let shape = image.volume.shape();
    let labels: Vec<u16> = image.volume.into_data().into_iter().map(|v| v as u16).collect();
    let labels = Volume::new(shape, labels).ok_or_else(|| format!("{}: no voxels", input.display()))?;
    reader.write_labels(output, &labels, &image.geometry).map_err(|error| error.to_string())?;
    Ok(removed)
}
