//! Where the files of evaluated cases are.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::CaseMetrics;

/// Folders in which the files of the cases are looked for, where they are not where the summary says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CaseFiles<'a> {
    /// Folder of the references.
    pub(crate) references: Option<&'a Path>,
    /// Folder of the predictions.
    pub(crate) predictions: Option<&'a Path>,
    /// Folder of the images.
    pub(crate) images: Option<&'a Path>,
    /// Folder of the summary, in which predictions usually are.
    pub(crate) summary: Option<&'a Path>,
}

impl CaseFiles<'_> {
    /// The reference segmentation of a case.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn reference(&self, case: &CaseMetrics) -> Result<PathBuf, String> {
        find(&case.reference_file, self.references, None, "reference", "-ref")
    }

    /// The prediction of a case.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn prediction(&self, case: &CaseMetrics) -> Result<PathBuf, String> {
        find(&case.prediction_file, self.predictions, self.summary, "prediction", "-pred")
    }
}

fn find(
    stated: &str,
    folder: Option<&Path>,
    beside: Option<&Path>,
    what: &str,
    flag: &str,
) -> Result<PathBuf, String> {
    let stated = Path::new(stated);
    let name = stated.file_name().unwrap_or_default();
    let moved = beside.map(|folder| folder.join(name)).filter(|path| path.is_file());
    let path = match folder {
        Some(folder) => folder.join(name),
        None if stated.is_file() => stated.to_owned(),
        None => moved.unwrap_or_else(|| stated.to_owned()),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{}: the {what} is not there; give its folder with {flag}", path.display()))
}
