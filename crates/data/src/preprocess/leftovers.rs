//! What earlier runs left in a folder of preprocessed cases, and which of it goes.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::PreprocessError;
use super::made_from::forget;

/// Endings of files of a case: arrays and properties, the older format's too.
const ENDINGS: [&str; 6] = ["_seg.b2nd", ".b2nd", ".pkl", "_seg.npy", ".npy", ".npz"];
/// Ending of files that a killed run left half-written, all of them hidden.
const UNFINISHED: &str = ".tmp";

/// Removes from `folder`, so that it holds what belongs there and no other reader stumbles over it:
/// - files of cases that are not in the dataset (of whose cases `belongs` knows), and of the older format,
/// - all files of the cases in `remade`, half-written ones too,
/// - with `alone`, all other half-written files: nobody else is at work here.
pub(super) fn clean(
    folder: &Path,
    belongs: &BTreeSet<&str>,
    remade: &BTreeSet<&str>,
    alone: bool,
) -> Result<(), PreprocessError> {
    for identifier in remade {
        forget(folder, identifier)?;
    }
    let failed = |e| PreprocessError::io(folder, "remove the cases of an earlier run from it", e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let goes = match name.strip_prefix('.').and_then(|name| name.strip_suffix(UNFINISHED)) {
            Some(unfinished) => {
                alone || owners(unfinished_file(unfinished)).any(|case| remade.contains(case))
            }
            None => {
                let mut owners = owners(&name).peekable();
                let old = name.ends_with(".npy") || name.ends_with(".npz");
                let stored = owners.peek().is_some();
                let (mut known, mut again) = (false, false);
                for case in owners {
                    known |= belongs.contains(case);
                    again |= remade.contains(case);
                }
                stored && (old || !known || again)
            }
        };
        if goes && path.is_file() {
            std::fs::remove_file(&path).map_err(|e| PreprocessError::io(&path, "remove it", e))?;
        }
    }
    Ok(())
}

/// The cases that a file may be of: `a_seg.b2nd` are the labels of `a` or the images of `a_seg`.
fn owners(name: &str) -> impl Iterator<Item = &str> {
    ENDINGS.iter().filter_map(move |ending| name.strip_suffix(ending))
}

/// The file's name in that of a half-written one, which ends in the numbers of the process and the file.
fn unfinished_file(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let names = [
            "a.b2nd",
            "a_seg.b2nd",
            "a.pkl",
            "b.b2nd",
            "b.pkl",
            ".b.b2nd.77-3.tmp",
            ".a.pkl.5-0.tmp",
            "gone.b2nd",
            "gone.pkl",
            "a.npz",
            "notes.txt",
            "b_seg.b2nd",
            "2.b2nd",
            ".2_seg.b2nd.9-9.tmp",
        ];
        let fill = || names.iter().for_each(|name| std::fs::write(root.path().join(name), "").unwrap());
        let left = || {
            let mut left: Vec<String> = std::fs::read_dir(root.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect();
            left.sort();
            left.join(" ")
        };
        let belongs = BTreeSet::from(["a", "b", "2"]);
        fill();
        clean(root.path(), &belongs, &BTreeSet::from(["b"]), false).unwrap();
        assert_eq!(left(), ".2_seg.b2nd.9-9.tmp .a.pkl.5-0.tmp 2.b2nd a.b2nd a.pkl a_seg.b2nd notes.txt");
        fill();
        clean(root.path(), &belongs, &BTreeSet::from(["2"]), true).unwrap();
        assert_eq!(left(), "a.b2nd a.pkl a_seg.b2nd b.b2nd b.pkl b_seg.b2nd notes.txt");
    }
}
