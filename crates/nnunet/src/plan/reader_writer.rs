//! Name of the reference's image reader that a dataset gets, as written into the plans.

use super::error::PlanError;

/// Readers by file ending, in the order in which the reference tries them.
const READERS: [(&str, &[&str]); 3] = [
    ("NaturalImage2DIO", &[".png", ".bmp", ".tif"]),
    ("SimpleITKIO", &[".nii.gz", ".nrrd", ".mha", ".gipl"]),
    ("Tiff3DIO", &[".tif", ".tiff"]),
];
/// Reads what `SimpleITKIO` does not list.
const NIFTI_READER: (&str, &[&str]) = ("NibabelIO", &[".nii", ".nii.gz"]);
/// Readers that a dataset may ask for by name.
const NAMES: [&str; 6] = [
    "NaturalImage2DIO",
    "SimpleITKIO",
    "SimpleITKIOWithReorient",
    "Tiff3DIO",
    "NibabelIO",
    "NibabelIOWithReorient",
];

/// The reader for `file_ending`, or the one that dataset.json asks for
/// (`overwrite_image_reader_writer`) if it exists. `stack` says whether an example `.tif` has more
/// than one page: only then it is read as a volume.
pub fn image_reader_writer(
    file_ending: &str,
    asked_for: Option<&str>,
    stack: bool,
) -> Result<&'static str, PlanError> {
    if let Some(name) = asked_for.and_then(|name| NAMES.into_iter().find(|known| *known == name)) {
        return Ok(name);
    }
    let ending = file_ending.to_lowercase();
    READERS
        .iter()
        .chain([&NIFTI_READER])
        .find(|(name, endings)| endings.contains(&ending.as_str()) && !(stack && *name == "NaturalImage2DIO"))
        .map(|(name, _)| *name)
        .ok_or_else(|| PlanError::NoReader {
            ending: file_ending.to_owned(),
            supported: READERS
                .iter()
                .chain([&NIFTI_READER])
                .flat_map(|(_, endings)| endings.iter().copied())
                .fold(Vec::new(), |mut all, ending| {
                    if !all.contains(&ending) {
                        all.push(ending);
                    }
                    all
                })
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_follow_the_file_ending() {
        let reader = |ending, asked, stack| image_reader_writer(ending, asked, stack).unwrap();
        assert_eq!(reader(".nii.gz", None, false), "SimpleITKIO");
        assert_eq!(reader(".nii", None, false), "NibabelIO");
        assert_eq!(reader(".tif", None, false), "NaturalImage2DIO");
        assert_eq!(reader(".tif", None, true), "Tiff3DIO");
        assert_eq!(reader(".nii.gz", Some("NibabelIO"), false), "NibabelIO");
        assert_eq!(reader(".nii.gz", Some("SomethingElse"), false), "SimpleITKIO");
        let text = image_reader_writer(".jpg", None, false).unwrap_err().to_string();
        assert!(text.contains("`.jpg`") && text.contains(".png, .bmp, .tif, .nii.gz"), "{text}");
    }
}
