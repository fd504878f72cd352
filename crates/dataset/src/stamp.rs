//! Stamps of a case's files: whether they are still the ones that something was made from.

use std::path::Path;
use std::time::UNIX_EPOCH;

use super::Case;
use nnunet_pyformats::json::Json;

impl Case {
    /// Name, size in bytes and time of the last change (ns since 1970) of each image and the label; `None` if one
    /// of them cannot be looked at.
    pub fn stamps(&self) -> Option<Json> {
        let files = self.images.iter().chain(&self.label);
        files.map(|path| stamp(path)).collect::<Option<Vec<Json>>>().map(Json::from)
    }
}

fn stamp(path: &Path) -> Option<Json> {
    let file = std::fs::metadata(path).ok()?;
    let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let name = path.file_name()?.to_string_lossy().into_owned();
    let numbers = [i64::try_from(file.len()).ok()?, i64::try_from(changed).ok()?];
    Some(Json::Array([name.into()].into_iter().chain(numbers.map(Json::from)).collect()))
}
