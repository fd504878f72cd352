//! The files that give the spacing of TIFF volumes, where they are missing.

use std::path::Path;

use nnunet_image_io::ImageWarning;
use nnunet_image_io::tiff3d::{self, Naming};

use super::{Case, CaseWarning, ImageReader};
use nnunet_base::progress::{Event, Progress};

/// So many missing files have a line each; of more the first are named in one.
const FEW: usize = 3;

/// Warns of images of `cases` whose spacing was taken to be 1 mm because there is no file that says it: one line for each of
/// a few, else one for all. Reading the images does not warn of it again.
pub fn warn_of_missing_spacing_files<'a>(
    reader: ImageReader,
    cases: impl IntoIterator<Item = &'a Case>,
    progress: &dyn Progress,
) {
    if reader != ImageReader::Tiff3d {
        return;
    }
    let images: Vec<&Path> =
        cases.into_iter().flat_map(|case| &case.images).map(|path| path.as_path()).collect();
    let missing: Vec<(&Path, ImageWarning)> = images
        .iter()
        .filter_map(|path| Some((*path, tiff3d::missing_spacing_file(path, Naming::Channel)?)))
        .collect();
    if missing.len() <= FEW {
        for (path, warning) in missing {
            let warning = CaseWarning::File { path: path.to_owned(), warning };
            progress.event(Event::Warning(&warning.to_string()));
        }
        return;
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
    let mut expected: Vec<String> = Vec::new();
    let mut similar = None;
    for (_, warning) in &missing {
        let ImageWarning::NoSpacingFile { expected: file, similar: other } = warning else { continue };
        let file = name(file);
        // Channels of a case share it.
        if expected.len() < FEW && expected.last() != Some(&file) {
            expected.push(file);
        }
        similar = similar.or(other.as_deref().map(name));
    }
    let folder = missing[0].0.parent().unwrap_or(Path::new(""));
    let not_looked_at =
        similar.map_or_else(String::new, |file| format!("; files such as {file} are not looked at"));
    progress.event(Event::Warning(&format!(
        "{}: {} of {} images have no spacing file ({}, ...){not_looked_at}; their spacing was taken to be 1 mm along each \
         axis",
        folder.display(),
        missing.len(),
        images.len(),
        expected.join(", ")
    )));
}
