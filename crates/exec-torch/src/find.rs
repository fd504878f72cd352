//! Where libtorch is. The places come from the program, which alone reads environment variables.

use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::python::of_python;

/// Where to look for libtorch, in this order; the first place that has it wins. A place that was named outright must have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// A folder that was asked for: that of the library, of libtorch, or of a virtual environment.
    pub asked_for: Option<PathBuf>,
    /// Folders of Python environments, each with the name of what says so, e.g. `VIRTUAL_ENV`.
    pub environments: Vec<(String, PathBuf)>,
    /// The Python that is asked where its `torch` is; `None` asks none. It takes a few tenths of a second.
    pub python: Option<PathBuf>,
}

/// A libtorch on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its folder of libraries.
    pub folder: PathBuf,
    /// What led there, e.g. `VIRTUAL_ENV`.
    pub through: String,
}

/// Files of libtorch on this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    /// What every libtorch has.
    pub(crate) core: &'static str,
    /// The operations on NVIDIA cards.
    pub(crate) cuda: &'static str,
}

/// Their names.
pub(crate) const FILES: Files = if cfg!(windows) {
    Files { core: "torch_cpu.dll", cuda: "torch_cuda.dll" }
} else if cfg!(target_os = "macos") {
    Files { core: "libtorch_cpu.dylib", cuda: "libtorch_cuda.dylib" }
} else {
    Files { core: "libtorch_cpu.so", cuda: "libtorch_cuda.so" }
};

impl Places {
    /// The first libtorch.
    ///
    /// # Errors
    /// None at any place, or none at the one that was asked for: what was looked at.
    pub fn find(&self) -> Result<Found, OpenError> {
        let mut looked_at = Vec::new();
        if let Some(folder) = &self.asked_for {
            return match in_folder(folder) {
                Some(found) => Ok(Found { folder: found, through: folder.display().to_string() }),
                None => {
                    let text =
                        format!("{} (no {} in it, in lib or in torch/lib)", folder.display(), FILES.core);
                    Err(OpenError::NotFound { looked_at: vec![text] })
                }
            };
        }
        for (name, folder) in &self.environments {
            match in_folder(folder) {
                Some(found) => return Ok(Found { folder: found, through: name.clone() }),
                None => looked_at.push(format!("{name} {} (no torch)", folder.display())),
            }
        }
        if let Some(python) = &self.python {
            match of_python(python) {
                Ok(folder) => {
                    let through = python.display().to_string();
                    match in_folder(&folder) {
                        Some(folder) => return Ok(Found { folder, through }),
                        None => {
                            looked_at.push(format!("{through} ({} has no {})", folder.display(), FILES.core))
                        }
                    }
                }
                Err(reason) => looked_at.push(format!("{} ({reason})", python.display())),
            }
        }
        if looked_at.is_empty() {
            looked_at.push("no place was given".to_owned());
        }
        Err(OpenError::NotFound { looked_at })
    }
}

/// The folder of libraries that `folder` is or holds: of libtorch, of Python's package, of an environment.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let has = |candidate: &Path| candidate.join(FILES.core).is_file();
    let near = ["", "lib", "torch/lib"].map(|inner| folder.join(inner));
    let packages = ["Lib/site-packages/torch/lib"].map(|inner| folder.join(inner));
    let versioned = ["lib", "lib64"].into_iter().flat_map(|lib| {
        let pythons = std::fs::read_dir(folder.join(lib)).into_iter().flatten().flatten();
        let mut pythons: Vec<PathBuf> = pythons
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
            .map(|entry| entry.path().join("site-packages/torch/lib"))
            .collect();
        pythons.sort();
        pythons
    });
    near.into_iter().chain(packages).chain(versioned).find(|candidate| has(candidate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A folder with an empty library at `inner`.
    fn with_library(inner: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(inner)).unwrap();
        std::fs::write(folder.path().join(inner).join(FILES.core), "").unwrap();
        folder
    }

    #[test]
    fn libraries_are_found_in_folders_of_every_kind() {
        for inner in ["", "lib", "torch/lib", "lib/python3.11/site-packages/torch/lib"] {
            let folder = with_library(inner);
            let places = Places { asked_for: Some(folder.path().to_owned()), ..Places::default() };
            let found = places.find().unwrap();
            assert_eq!(
                found.folder.canonicalize().unwrap(),
                folder.path().join(inner).canonicalize().unwrap()
            );
            let named = ("CONDA_PREFIX".to_owned(), folder.path().to_owned());
            let empty = tempfile::tempdir().unwrap();
            let environments = vec![("VIRTUAL_ENV".to_owned(), empty.path().to_owned()), named];
            let found = Places { environments, ..Places::default() }.find().unwrap();
            assert_eq!(found.through, "CONDA_PREFIX");
        }
    }

    #[test]
    fn what_was_looked_at_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let asked = Places {
            asked_for: Some(empty.path().to_owned()),
            environments: vec![("VIRTUAL_ENV".into(), with_library("lib").path().to_owned())],
            python: None,
        };
        let text = asked.find().unwrap_err().to_string();
        assert!(
            text.contains(&empty.path().display().to_string()) && !text.contains("VIRTUAL_ENV"),
            "{text}"
        );
        let nowhere = Places {
            asked_for: None,
            environments: vec![("VIRTUAL_ENV".into(), empty.path().to_owned())],
            python: Some("no-such-python".into()),
        };
        let text = nowhere.find().unwrap_err().to_string();
        assert!(text.contains("VIRTUAL_ENV") && text.contains("no-such-python (no such program)"), "{text}");
    }
}
