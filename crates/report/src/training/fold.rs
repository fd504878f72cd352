//! What the folder of a fold tells.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::Summary;
use nnunet_base::files::folders_in;
use nnunet_train::history::History;

use super::waiting::waiting;
use crate::error::ReportError;

/// Checkpoints in the order in which their curves are taken: the latest one is of a training that goes on.
const CHECKPOINTS: [&str; 3] = ["checkpoint_latest.pth", "checkpoint_final.pth", "checkpoint_best.pth"];

/// A fold of a training.
#[derive(Debug)]
pub(super) struct FoldRecord {
    /// `fold_0`, `fold_all`, ...
    pub(super) name: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The curves, if there is a checkpoint.
    pub(super) history: Option<History>,
    /// Share of each epoch that was spent waiting for batches, as far as logs tell.
    pub(super) waiting: Vec<f64>,
    /// Whether the training is complete.
    pub(super) is_complete: bool,
    /// The evaluation of the validation cases, if there is one.
    pub(super) validation: Option<Summary>,
}

impl FoldRecord {
    /// Reads what is in the folder of a fold.
    ///
    /// # Errors
    /// A checkpoint or a summary that is there and cannot be read.
    fn read(folder: &Path) -> Result<Self, ReportError> {
        let checkpoint = CHECKPOINTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let summary = folder.join("validation").join("summary.json");
        let is_complete =
            folder.join("checkpoint_final.pth").is_file() && !folder.join("checkpoint_latest.pth").is_file();
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            history: checkpoint.map(|path| History::of_checkpoint(&path)).transpose()?,
            waiting: waiting(folder),
            is_complete,
            validation: summary.is_file().then(|| Summary::load(&summary)).transpose()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.history.is_none() && self.validation.is_none()
    }
}

/// The folds of `folder`, the folder of a model or of one of its folds, and the folder of the model.
///
/// # Errors
/// Neither; a checkpoint or a summary that cannot be read.
pub(super) fn read_folds(folder: &Path) -> Result<(PathBuf, Vec<FoldRecord>), ReportError> {
    let read_error = |source| ReportError::Read { path: folder.to_owned(), source };
    let mut folds = Vec::new();
    for name in folders_in(folder).map_err(read_error)?.iter().filter(|name| name.starts_with("fold_")) {
        folds.push(FoldRecord::read(&folder.join(name))?);
    }
    folds.retain(|fold| !fold.is_empty());
    if !folds.is_empty() {
        return Ok((folder.to_owned(), folds));
    }
    let single = FoldRecord::read(folder)?;
    if single.is_empty() {
        return Err(ReportError::NoTraining { folder: folder.to_owned() });
    }
    // The folder above is that of the model also for a path such as `.`.
    let model = folder.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    Ok((model.unwrap_or_default(), vec![single]))
}
