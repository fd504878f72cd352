//! Where the results of a training lie, with the names of the reference.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nnunet_base::files::write_atomic;
use nnunet_dataset::splits::Fold;

/// The folder of one fold and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    model: PathBuf,
    fold: PathBuf,
}

impl RunFolder {
    /// `RESULTS/DATASET/TRAINER__PLANS__CONFIGURATION/fold_X`.
    pub fn new(
        results: &Path,
        dataset: &str,
        trainer: &str,
        plans: &str,
        configuration: &str,
        fold: Fold,
    ) -> Self {
        let model = results.join(dataset).join(format!("{trainer}__{plans}__{configuration}"));
        let fold = model.join(format!("fold_{fold}"));
        Self { model, fold }
    }

    /// The folder of the model, which holds the folds, plans.json and dataset.json.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The folder of the fold.
    pub fn fold(&self) -> &Path {
        &self.fold
    }

    /// State after the last saved epoch, or at an interruption; deleted when the training is complete.
    pub fn latest_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_latest.pth")
    }

    /// State with the best moving average of the pseudo-Dice.
    pub fn best_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_best.pth")
    }

    /// State after the last epoch.
    pub fn final_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_final.pth")
    }

    /// The recipe as trainings of this model write it beside their results.
    pub fn recipe(&self) -> PathBuf {
        self.fold.join("recipe.toml")
    }

    /// The recipe that a training of this model left: that of this fold, else of another one.
    pub fn written_recipe(&self) -> Option<PathBuf> {
        let own = self.recipe();
        if own.is_file() {
            return Some(own);
        }
        let folds = std::fs::read_dir(&self.model).ok()?.filter_map(Result::ok);
        let mut others: Vec<PathBuf> = folds
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("fold_"))
            .map(|entry| entry.path().join("recipe.toml"))
            .filter(|path| path.is_file())
            .collect();
        others.sort_unstable();
        others.into_iter().next()
    }

    /// Predictions and evaluation of the validation cases.
    pub fn validation(&self) -> PathBuf {
        self.fold.join("validation")
    }

    /// Segmentations of all folds' validation cases for the configuration `next` of a cascade.
    pub fn next_stage(&self, next: &str) -> PathBuf {
        self.model.join("predicted_next_stage").join(next)
    }

    /// Where `checkpoint` of the training before is while a new one of the same fold is not complete:
    /// `checkpoint_final_previous.pth`, ...
    pub fn previous(&self, checkpoint: &Path) -> PathBuf {
        let stem = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
        self.fold.join(format!("{stem}_previous.pth"))
    }

    /// Locked by the run that works in the folder.
    pub(super) fn lock(&self) -> PathBuf {
        self.fold.join(".training.lock")
    }

    /// There while a new training has saved nothing yet, so that the checkpoints there are of an earlier one.
    fn started_anew(&self) -> PathBuf {
        self.fold.join(".started_anew")
    }

    fn checkpoints(&self) -> [PathBuf; 3] {
        [self.final_checkpoint(), self.latest_checkpoint(), self.best_checkpoint()]
    }

    /// The checkpoint to continue from: of the training that was started last the final one, else the latest, else the best.
    pub fn resumable_checkpoint(&self) -> Option<PathBuf> {
        if self.has_outdated_checkpoints() {
            return None;
        }
        self.checkpoints().into_iter().find(|path| path.is_file())
    }

    /// Whether the checkpoints are of a training before the one that was started last.
    pub(super) fn has_outdated_checkpoints(&self) -> bool {
        self.started_anew().is_file()
    }

    /// Notes that a new training begins; whether there are checkpoints of an earlier one, which stay until it saves its own.
    pub(super) fn start_anew(&self) -> io::Result<bool> {
        let outdated = self.checkpoints().iter().any(|path| path.is_file());
        if outdated {
            write_atomic(&self.started_anew(), b"the checkpoints are of an earlier training\n")?;
        }
        Ok(outdated)
    }

    /// Takes [`start_anew`](Self::start_anew) back: the new training ended before it did anything.
    pub(super) fn leave_as_it_was(&self) -> io::Result<()> {
        remove_if_there(&self.started_anew())
    }

    /// Whether the checkpoints of the earlier training are to be kept. Those of one that is not complete give way where those of a
    /// complete training before it are kept already.
    fn keeps_earlier(&self) -> bool {
        let last = self.final_checkpoint();
        last.is_file() || !self.previous(&last).is_file()
    }

    /// Puts the checkpoint of an earlier training that the new one is about to replace by writing `saved` out of the way, if it is to
    /// be kept.
    pub(super) fn set_aside(&self, saved: &Path) -> io::Result<Option<SetAside>> {
        if !saved.is_file() || !self.keeps_earlier() {
            return Ok(None);
        }
        let aside = SetAside { from: saved.to_owned(), to: self.previous(saved) };
        std::fs::rename(&aside.from, &aside.to)?;
        Ok(Some(aside))
    }

    /// Puts the other checkpoints of an earlier training out of the way, now that the new one has written `saved`. They stay under
    /// other names until the new training is complete.
    pub(super) fn supersede_earlier(&self, saved: &Path) -> io::Result<()> {
        let keeps = self.keeps_earlier();
        for old in self.checkpoints() {
            if saved == old {
                continue;
            }
            if keeps && old.is_file() {
                std::fs::rename(&old, self.previous(&old))?;
            } else {
                remove_if_there(&old)?;
            }
        }
        remove_if_there(&self.started_anew())
    }

    /// Removes unfinished files, which a run leaves that is killed while it writes one. Nobody else writes here while the fold is
    /// locked.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.fold)? {
            let entry = entry?;
            if is_temporary(&entry.file_name().to_string_lossy()) {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what a training needs only until its final checkpoint is written.
    pub(super) fn remove_intermediate(&self) -> io::Result<()> {
        remove_if_there(&self.latest_checkpoint())?;
        self.checkpoints().iter().try_for_each(|checkpoint| remove_if_there(&self.previous(checkpoint)))
    }

    /// Tries to write where the training and its final validation will, `next_stages` of a cascade included.
    ///
    /// # Errors
    /// The folder in which nothing can be written, and why.
    pub(super) fn check_writable(&self, next_stages: &[String]) -> Result<(), (PathBuf, io::Error)> {
        let next_stages = next_stages.iter().map(|next| self.next_stage(next));
        for folder in
            [self.model.clone(), self.fold.clone(), self.validation()].into_iter().chain(next_stages)
        {
            // What does not exist yet will be made in the folder above.
            let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { continue };
            let probe = nnunet_base::files::temporary_name(&there.join("probe"));
            File::create_new(&probe)
                .and_then(|_| std::fs::remove_file(&probe))
                .map_err(|source| (there.to_owned(), source))?;
        }
        Ok(())
    }
}

/// A checkpoint of an earlier training that has another name while the new one writes its first.
#[derive(Debug)]
pub(super) struct SetAside {
    from: PathBuf,
    to: PathBuf,
}

impl SetAside {
    /// Gives it its name back: the new checkpoint could not be written.
    pub(super) fn take_back(self) -> io::Result<()> {
        std::fs::rename(self.to, self.from)
    }
}

/// Whether `name` is that of an unfinished file, `.NAME.PROCESS-NUMBER.tmp`; see [`nnunet_base::files::temporary_name`].
fn is_temporary(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let writer = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")?.rsplit_once('.'));
    let numbers = writer.and_then(|(_, writer)| writer.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path) -> RunFolder {
        let folder = RunFolder::new(root, "Dataset001_A", "trainer", "plans", "3d_fullres", Fold::Number(0));
        std::fs::create_dir_all(folder.fold()).unwrap();
        folder
    }

    #[test]
    fn a_new_training_takes_over_once_it_has_saved_and_loses_nothing_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        assert!(!folder.start_anew().unwrap() && !folder.has_outdated_checkpoints(), "nothing is there");
        write(&folder.final_checkpoint(), "old final");
        write(&folder.best_checkpoint(), "old best");
        assert_eq!(folder.resumable_checkpoint(), Some(folder.final_checkpoint()));

        // Begun anew, and killed before it saved: nothing to continue from, nothing lost.
        assert!(folder.start_anew().unwrap());
        assert_eq!(folder.resumable_checkpoint(), None);
        assert!(folder.final_checkpoint().is_file() && folder.best_checkpoint().is_file());
        // Begun anew, and ended before it did anything.
        folder.leave_as_it_was().unwrap();
        assert_eq!(folder.resumable_checkpoint(), Some(folder.final_checkpoint()));

        folder.start_anew().unwrap();
        write(&folder.latest_checkpoint(), "new latest");
        folder.supersede_earlier(&folder.latest_checkpoint()).unwrap();
        assert_eq!(folder.resumable_checkpoint(), Some(folder.latest_checkpoint()));
        assert!(!folder.best_checkpoint().exists() && !folder.final_checkpoint().exists());
        let previous = |path: PathBuf| std::fs::read_to_string(folder.previous(&path)).unwrap();
        assert_eq!(previous(folder.final_checkpoint()), "old final");
        assert_eq!(previous(folder.best_checkpoint()), "old best");

        // A third one, after the second was given up: what the complete first one left stays.
        folder.start_anew().unwrap();
        assert!(folder.set_aside(&folder.best_checkpoint()).unwrap().is_none(), "there is none");
        write(&folder.best_checkpoint(), "third best");
        folder.supersede_earlier(&folder.best_checkpoint()).unwrap();
        assert!(!folder.latest_checkpoint().exists());
        assert_eq!(previous(folder.best_checkpoint()), "old best");

        write(&folder.final_checkpoint(), "third final");
        folder.remove_intermediate().unwrap();
        assert_eq!(folder.resumable_checkpoint(), Some(folder.final_checkpoint()));
        assert_eq!(std::fs::read_dir(folder.fold()).unwrap().count(), 2, "best and final");
    }

    #[test]
    fn the_best_checkpoint_of_a_training_is_kept_while_the_next_one_writes_its_own() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let best = folder.best_checkpoint();
        std::fs::write(&best, "old").unwrap();
        folder.set_aside(&best).unwrap().unwrap().take_back().unwrap();
        assert_eq!(std::fs::read(&best).unwrap(), b"old", "the new one could not be written");
        folder.set_aside(&best).unwrap().unwrap();
        std::fs::write(&best, "new").unwrap();
        folder.supersede_earlier(&best).unwrap();
        assert_eq!(std::fs::read(folder.previous(&best)).unwrap(), b"old");
    }

    #[test]
    fn unfinished_files_of_a_killed_run_are_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let unfinished = nnunet_base::files::temporary_name(&folder.latest_checkpoint());
        let others = [folder.latest_checkpoint(), folder.fold().join(".notes.tmp")];
        others.iter().chain([&unfinished]).for_each(|path| std::fs::write(path, "").unwrap());
        folder.remove_unfinished().unwrap();
        assert!(!unfinished.exists() && others.iter().all(|path| path.is_file()));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before_the_training() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let next = ["3d_cascade_fullres".to_owned()];
        folder.check_writable(&next).unwrap();
        assert_eq!(std::fs::read_dir(folder.fold()).unwrap().count(), 0, "the probe is gone");
        // Root may write everywhere but where a file is in the way.
        std::fs::write(folder.model().join("predicted_next_stage"), "").unwrap();
        let (path, _) = folder.check_writable(&next).unwrap_err();
        assert!(path.ends_with("predicted_next_stage"), "{}", path.display());
        folder.check_writable(&[]).unwrap();
    }
}
