//! What a training makes before it begins: gone again if it never does.

use std::path::{Path, PathBuf};

/// Folders and files that a start has made. They are removed when this is dropped, unless the training has begun.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// In the order in which they were made.
    made: Vec<PathBuf>,
}

impl Fresh {
    /// Makes `folder` and those above it, and notes those that were missing.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn make_folder(&mut self, folder: &Path) -> std::io::Result<()> {
        let missing: Vec<PathBuf> =
            folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        self.made.extend(missing.into_iter().rev());
        std::fs::create_dir_all(folder)
    }

    /// Notes that `file` will be made, if it is not there yet.
    pub(super) fn note(&mut self, file: &Path) {
        if !file.exists() {
            self.made.push(file.to_owned());
        }
    }

    /// The training has begun: everything stays.
    pub(super) fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // Folders in which somebody else has put something stay; a leftover is only untidy.
            let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_unless_the_training_has_begun() {
        let root = tempfile::tempdir().unwrap();
        let there = root.path().join("results");
        std::fs::create_dir(&there).unwrap();
        let start = || {
            let mut fresh = Fresh::default();
            let fold = there.join("model/fold_0");
            fresh.make_folder(&fold).unwrap();
            fresh.note(&fold.join("log.txt"));
            std::fs::write(fold.join("log.txt"), "").unwrap();
            fresh
        };
        drop(start());
        assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0);

        start().keep();
        assert!(there.join("model/fold_0/log.txt").is_file());
        // What was there before stays.
        drop(start());
        assert!(there.join("model/fold_0/log.txt").is_file());

        let elsewhere = there.join("other/fold_0");
        let mut fresh = Fresh::default();
        fresh.make_folder(&elsewhere).unwrap();
        std::fs::write(there.join("other/plans.json"), "of another run").unwrap();
        drop(fresh);
        assert!(!elsewhere.exists() && there.join("other/plans.json").is_file());
    }
}
