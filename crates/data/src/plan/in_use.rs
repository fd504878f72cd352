//! Plans in use: nobody changes them while a run works on the cases that were made with them.

use std::path::Path;

use super::plans_json::Plans;
use crate::planner::PlanError;
use nnunet_base::hint::Hint;
use nnunet_base::lock::{FolderLock, Hold, LockError, LockRequest, lock_beside};
use nnunet_base::progress::Silent;

/// Keeps trainings and preprocessing out of the folders of cases below `preprocessed` that `plans` and the plans in `file`,
/// which they replace, speak of. Nothing is locked where the new plans are the same as the old ones.
///
/// # Errors
/// A training or preprocessing works on such cases.
pub(super) fn lock_cases(
    preprocessed: &Path,
    file: &Path,
    plans: &Plans,
) -> Result<Vec<FolderLock>, PlanError> {
    let old = if file.exists() { Some(Plans::read(file)?) } else { None };
    if old.as_ref().is_some_and(|old| old.document() == plans.document()) {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for plans in old.iter().chain([plans]) {
        for name in plans.configuration_names() {
            // One that cannot be used is in no use.
            let Ok(configuration) = plans.configuration(name) else { continue };
            let folder = preprocessed.join(&configuration.data_identifier);
            // Whoever works in the folder has made the file of its lock.
            if !folders.contains(&folder) && lock_beside(&folder).exists() {
                folders.push(folder);
            }
        }
    }
    let mut locks = Vec::new();
    for folder in &folders {
        let request = LockRequest {
            folder,
            file: &lock_beside(folder),
            hold: Hold::Alone,
            what: "planning",
            advice: "other plans would no longer fit its cases: wait for it to end or stop it",
        };
        let lock = request.take(&Silent).map_err(|error| match error {
            LockError::InUse(error) => PlanError::InUse { error, hint: Hint::AnotherPlansName },
            LockError::Io { path, source } => PlanError::write(&path, source),
        })?;
        locks.extend(lock);
    }
    Ok(locks)
}
