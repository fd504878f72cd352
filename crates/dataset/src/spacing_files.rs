//! The files that give the spacing of TIFF volumes, where they are missing.

use std::fmt;
use std::path::{Path, PathBuf};

use nnunet_image_io::ImageWarning;

use super::{Case, CaseWarning, ImageReader};
use nnunet_base::progress::{Event, Progress};

/// So many missing files have a line each; of more the first are named in one.
const FEW: usize = 3;

/// Many images without a file that says their spacing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManyMissing {
    /// Folder of the first of them.
    pub folder: PathBuf,
    /// How many there are.
    pub missing: usize,
    /// Images and segmentations that were looked at.
    pub files: usize,
    /// Names of the first files that were expected.
    expected: Vec<String>,
    /// Name of a file that could be meant for it, but is not looked at.
    similar: Option<String>,
}

impl fmt::Display for ManyMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, files, .. } = self;
        write!(f, "{missing} of {files} images have no spacing file ({}, ...)", self.expected.join(", "))?;
        if let Some(file) = &self.similar {
            write!(f, "; files such as {file} are not looked at")?;
        }
        f.write_str("; their spacing was taken to be 1 mm along each axis")
    }
}

impl ManyMissing {
    /// What to say instead of the warnings `missing` about as many of `files` images, if there are more than a few of them.
    pub(crate) fn instead_of(missing: &[(&Path, &ImageWarning)], files: usize) -> Option<Self> {
        let (first, _) = missing.first().filter(|_| missing.len() > FEW)?;
        let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        let mut expected: Vec<String> = Vec::new();
        let mut similar = None;
        for (_, warning) in missing {
            let ImageWarning::NoSpacingFile { expected: file, similar: other } = warning else { continue };
            let file = name(file);
            // Channels of a case share it.
            if expected.len() < FEW && !expected.contains(&file) {
                expected.push(file);
            }
            similar = similar.or(other.as_deref().map(name));
        }
        let folder = first.parent().unwrap_or(Path::new("")).to_owned();
        Some(Self { folder, missing: missing.len(), files, expected, similar })
    }
}

/// Warns of images of `cases` whose spacing was taken to be 1 mm because there is no file that says it: one line for each of
/// a few, else one for all. Reading the images does not warn of it again.
pub fn warn_of_missing_spacing_files<'a>(
    reader: &ImageReader,
    cases: impl IntoIterator<Item = &'a Case>,
    progress: &dyn Progress,
) {
    let images: Vec<&Path> =
        cases.into_iter().flat_map(|case| &case.images).map(|path| path.as_path()).collect();
    let missing: Vec<(&Path, ImageWarning)> =
        images.iter().filter_map(|path| Some((*path, reader.format().missing_spacing(path)?))).collect();
    let references: Vec<_> = missing.iter().map(|(path, warning)| (*path, warning)).collect();
    if let Some(many) = ManyMissing::instead_of(&references, images.len()) {
        progress.event(Event::Warning(&format!("{}: {many}", many.folder.display())));
        return;
    }
    for (path, warning) in missing {
        let warning = CaseWarning::File { path: path.to_owned(), warning };
        progress.event(Event::Warning(&warning.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_formats;
    use nnunet_testkit::warnings::Warnings;

    /// The warnings about `count` cases of two channels each in `folder`.
    fn said(folder: &Path, count: usize, reader: &str) -> Vec<String> {
        let reader = ImageReader::new(&image_formats(), Some(reader), ".tif", folder).unwrap();
        let images =
            |case: usize| [0, 1].map(|channel| folder.join(format!("c{case}_000{channel}.tif"))).to_vec();
        let cases: Vec<Case> = (0..count)
            .map(|case| Case {
                identifier: format!("c{case}"),
                images: images(case),
                absent: Vec::new(),
                label: None,
            })
            .collect();
        let warnings = Warnings::default();
        warn_of_missing_spacing_files(&reader, &cases, &warnings);
        warnings.said()
    }

    #[test]
    fn many_missing_files_are_one_line_and_a_few_one_each() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        let few = said(folder, 1, "Tiff3DIO");
        assert!(
            few.len() == 2 && few[1].contains("c0_0001.tif: there is no spacing file c0.json"),
            "{few:?}"
        );
        let many = said(folder, 9, "Tiff3DIO");
        let [line] = many.as_slice() else { panic!("{many:?}") };
        assert!(
            line.contains("18 of 18 images have no spacing file (c0.json, c1.json, c2.json, ...); their"),
            "{line}"
        );

        std::fs::write(folder.join("c0.json"), "").unwrap();
        std::fs::write(folder.join("c8_0001.json"), "").unwrap();
        let many = said(folder, 9, "Tiff3DIO");
        assert!(
            many[0].contains("16 of 18 images") && many[0].contains("such as c8_0001.json are not"),
            "{many:?}"
        );
        assert!(said(folder, 9, "NaturalImage2DIO").is_empty());
    }
}
