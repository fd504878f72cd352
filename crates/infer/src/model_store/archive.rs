//! The inside of a model's archive, looked at before anything is unpacked.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::error::StoreError;
use crate::model::ModelName;
use nnunet_base::progress::{Cancel, Interrupted};
use nnunet_dataset::DatasetName;

/// Unpacked, an archive may have this many times its own size...
const MAX_RATIO: u64 = 100;
/// ... and this much on top, for small ones.
const SLACK: u64 = 64 << 20;
/// Archives of models have hundreds of members; with all predictions, thousands.
const MAX_MEMBERS: usize = 1_000_000;

/// Something that is installed as a whole: a model, an ensemble, or a file of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Where it goes, relative to the results folder.
    pub(super) path: PathBuf,
    /// Whether it is a model.
    pub(super) is_model: bool,
}

/// An archive whose names and sizes are harmless.
pub(super) struct ModelArchive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    /// Index and path of every file.
    members: Vec<(usize, PathBuf)>,
    /// Bytes that may be unpacked.
    limit: u64,
}

impl ModelArchive {
    /// Opens an archive and checks every name in it: no path may leave the folder it is unpacked to, there
    /// are no links, no name comes twice, and the sizes are those of a model.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io(path))?;
        let length = file.metadata().map_err(StoreError::io(path))?.len();
        let not_a_model = |problem: String| StoreError::NotAModel { path: path.to_owned(), problem };
        let hostile = |problem: String| StoreError::Hostile { path: path.to_owned(), problem };
        let mut zip = ZipArchive::new(BufReader::with_capacity(1 << 20, file))
            .map_err(|error| not_a_model(format!("no zip archive ({error})")))?;
        if zip.len() > MAX_MEMBERS {
            return Err(hostile(format!("{} members", zip.len())));
        }
        let limit = length.saturating_mul(MAX_RATIO).saturating_add(SLACK);
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        let mut total = 0u64;
        for index in 0..zip.len() {
            let member =
                zip.by_index(index).map_err(|error| not_a_model(format!("member {index}: {error}")))?;
            let name = member.name().map_err(|error| hostile(format!("name of member {index}: {error}")))?;
            let parts = safe_parts(&name).map_err(|why| hostile(format!("member {name:?} {why}")))?;
            let kind = member.unix_mode().unwrap_or(0) & 0o170_000;
            if member.is_symlink() || !matches!(kind, 0 | 0o040_000 | 0o100_000) {
                return Err(hostile(format!("member {name:?} is a link or a device")));
            }
            total = total.saturating_add(member.size());
            // Folders, and what macOS adds to archives.
            if member.is_dir() || parts[0] == "__MACOSX" || parts.last() == Some(&".DS_Store") {
                continue;
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(hostile(format!("member {name:?} is there twice")));
            }
            members.push((index, parts.iter().collect()));
        }
        if total > limit {
            return Err(hostile(format!(
                "it would unpack to {total} bytes, more than {MAX_RATIO} times its size of {length}"
            )));
        }
        Ok(Self { path: path.to_owned(), zip, members, limit })
    }

    /// What the archive holds, in the order of paths.
    ///
    /// # Errors
    /// Anything that is not below a dataset, a model without plans.json or dataset.json, or no model with a
    /// checkpoint.
    pub(super) fn items(&self) -> Result<Vec<Item>, StoreError> {
        let not_a_model = |problem: String| StoreError::NotAModel { path: self.path.clone(), problem };
        let mut items: BTreeMap<Item, Vec<&Path>> = BTreeMap::new();
        for (_, member) in &self.members {
            let parts: Vec<String> = member.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if parts.len() < 2 || DatasetName::new(&parts[0]).is_err() {
                return Err(not_a_model(format!("it holds {}", member.display())));
            }
            let depth = if parts[1] == "ensembles" { 3 } else { 2 };
            let path: PathBuf = parts.iter().take(depth).collect();
            let is_model = parts.len() > 2 && ModelName::parse(&parts[1]).is_some();
            let within = member.strip_prefix(&path).unwrap_or(member);
            items.entry(Item { path, is_model }).or_default().push(within);
        }
        let mut checkpoints = 0;
        for (item, members) in items.iter().filter(|(item, _)| item.is_model) {
            for name in ["plans.json", "dataset.json"] {
                if !members.contains(&Path::new(name)) {
                    return Err(not_a_model(format!("{} has no {name}", item.path.display())));
                }
            }
            checkpoints += members.iter().filter(|m| m.extension().is_some_and(|e| e == "pth")).count();
        }
        if checkpoints == 0 {
            return Err(not_a_model("no checkpoint of a model is in it".to_owned()));
        }
        Ok(items.into_keys().collect())
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Unpacks everything into `folder`, flushed to the disk; `done` is told the number and name of each file.
    pub(super) fn unpack(
        &mut self,
        folder: &Path,
        cancel: &Cancel,
        mut done: impl FnMut(usize, &str),
    ) -> Result<(), StoreError> {
        // Sizes in the archive may lie: what counts is what comes out.
        let mut left = self.limit;
        let mut buffer = vec![0u8; 1 << 18];
        for (i, (index, member)) in self.members.iter().enumerate() {
            let damaged = |error: String| StoreError::NotAModel {
                path: self.path.clone(),
                problem: format!("{} cannot be unpacked ({error})", member.display()),
            };
            let mut source = self.zip.by_index(*index).map_err(|error| damaged(error.to_string()))?;
            let target = folder.join(member);
            let failed = || StoreError::io(&target);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(failed())?;
            }
            let mut file = File::create_new(&target).map_err(failed())?;
            loop {
                if cancel.is_cancelled() {
                    return Err(Interrupted.into());
                }
                let n = source.read(&mut buffer).map_err(|error| damaged(error.to_string()))?;
                if n == 0 {
                    break;
                }
                left = left.checked_sub(n as u64).ok_or_else(|| StoreError::Hostile {
                    path: self.path.clone(),
                    problem: format!("it unpacks to more than {} bytes", self.limit),
                })?;
                file.write_all(&buffer[..n]).map_err(failed())?;
            }
            file.sync_all().map_err(failed())?;
            done(i + 1, &member.to_string_lossy());
        }
        Ok(())
    }
}

/// The parts of a member's name, if it is a plain relative path.
fn safe_parts(name: &str) -> Result<Vec<&str>, &'static str> {
    if name.starts_with('/') {
        return Err("is an absolute path");
    }
    if name.contains(['\\', ':', '\0']) {
        return Err("has a backslash, colon or zero in its name");
    }
    let parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    if parts.contains(&"..") {
        return Err("leads out of its folder");
    }
    if parts.iter().any(|part| part.is_empty() || *part == ".") {
        return Err("is no plain path");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_safe() {
        assert_eq!(safe_parts("a/b.c"), Ok(vec!["a", "b.c"]));
        assert_eq!(safe_parts("a/b/"), Ok(vec!["a", "b"]));
        assert_eq!(safe_parts("a/..b/c.."), Ok(vec!["a", "..b", "c.."]));
        for name in ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:/x", "a//b", "a/./b", "", "a\0b", "//x"] {
            assert!(safe_parts(name).is_err(), "{name:?}");
        }
    }
}
