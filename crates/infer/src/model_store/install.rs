//! Installing models from an archive: all of it, or nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{Item, ModelArchive};
use super::error::StoreError;
use nnunet_base::Ctx;
use nnunet_base::files::TemporaryFolder;
use nnunet_base::hint::Hint;
use nnunet_base::progress::{Event, Progress};

/// File in the temporary folder that is locked while its installation runs.
const LOCK: &str = "lock";
/// Folder in the temporary folder for models that are being replaced.
const REPLACED: &str = "old";

/// What an installation changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Models that are there now, as `DATASET/TRAINER__PLANS__CONFIGURATION`.
    pub models: Vec<String>,
    /// Ensembles and files of the dataset that were there already and stayed as they were.
    pub kept: Vec<String>,
}

/// Installs the models of the archive `zip` into the folder `results`.
///
/// Everything is unpacked beside its place first and then renamed into it. Models that exist are only replaced
/// with `force`; ensembles and loose files of a dataset that exist stay without it.
///
/// # Errors
/// An archive that is damaged, hostile or no model; models that exist; files that cannot be written;
/// interrupted. The results folder is then as it was.
pub fn install_model(zip: &Path, results: &Path, force: bool, ctx: Ctx<'_>) -> Result<Installed, StoreError> {
    let mut archive = ModelArchive::open(zip)?;
    let items = archive.items()?;
    let (existing, new): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| !force && results.join(&item.path).exists());
    let names = |items: &[Item], models: bool| -> Vec<String> {
        items.iter().filter(|item| item.is_model == models).map(|i| i.path.display().to_string()).collect()
    };
    let conflicts = names(&existing, true);
    if !conflicts.is_empty() {
        return Err(StoreError::Exists {
            models: conflicts.join(", "),
            results: results.to_owned(),
            hint: Hint::ReplaceModels,
        });
    }
    remove_leftovers(results, ctx.progress);
    let temporary = TemporaryFolder::beside(&results.join("install")).map_err(StoreError::io(results))?;
    let _lock = lock(temporary.path()).map_err(StoreError::io(temporary.path()))?;
    ctx.event(Event::Started { stage: "install", total: archive.len() as u64 });
    let unpacked = temporary.path().join("new");
    archive.unpack(&unpacked, ctx.cancel, |done, name| {
        ctx.event(Event::Advanced { done: done as u64, detail: name });
    })?;
    ctx.event(Event::Finished);
    let mut moves = Moves { results, replaced: temporary.path().join(REPLACED), done: Vec::new() };
    for item in &new {
        if let Err(error) = moves.put(&unpacked.join(&item.path), &item.path) {
            moves.undo();
            return Err(error);
        }
    }
    Ok(Installed { models: names(&new, true), kept: names(&existing, false) })
}

/// A lock on a temporary folder, for as long as the file is open: no other installation takes it for a leftover.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::create_new(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Removes what installations left that were killed.
fn remove_leftovers(results: &Path, progress: &dyn Progress) {
    for entry in fs::read_dir(results).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let folder = entry.path();
        let left = name.starts_with(".install.")
            && name.ends_with(".tmp")
            && File::open(folder.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok());
        if left && folder.join(REPLACED).exists() {
            progress.event(Event::Warning(&format!(
                "{}: an installation was killed while it replaced models; move what is in {REPLACED} back to {} and \
                 remove the folder",
                folder.display(),
                results.display()
            )));
        } else if left {
            // It is only in the way.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Renames that can be taken back.
struct Moves<'a> {
    results: &'a Path,
    /// Where replaced items wait until all is done.
    replaced: PathBuf,
    /// What was put in place, and whether it replaced something.
    done: Vec<(PathBuf, bool)>,
}

impl Moves<'_> {
    /// Renames `source` to its place `path` within the results.
    fn put(&mut self, source: &Path, path: &Path) -> Result<(), StoreError> {
        let target = self.results.join(path);
        let failed = || StoreError::io(&target);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(failed())?;
        }
        let replaces = target.exists();
        if replaces {
            let old = self.replaced.join(path);
            if let Some(parent) = old.parent() {
                fs::create_dir_all(parent).map_err(failed())?;
            }
            fs::rename(&target, &old).map_err(failed())?;
        }
        self.done.push((path.to_owned(), replaces));
        fs::rename(source, &target).map_err(failed())
    }

    /// Puts everything back as it was.
    fn undo(&self) {
        for (path, replaces) in self.done.iter().rev() {
            let target = self.results.join(path);
            // The error that matters is the one that led here.
            let _ = if target.is_dir() { fs::remove_dir_all(&target) } else { fs::remove_file(&target) };
            if *replaces {
                let _ = fs::rename(self.replaced.join(path), &target);
            }
        }
    }
}
