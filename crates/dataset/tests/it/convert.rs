//! Conversions held against the reference's own output (tests/golden/convert/make.py), and what happens when they
//! cannot be done.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::Folders;
use nnunet_dataset::convert::{ConvertError, convert_msd, convert_version_1};
use nnunet_image_io::nifti;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/convert").join(name)
}

/// An empty folder of raw datasets.
fn raw() -> (tempfile::TempDir, Folders) {
    let root = tempfile::tempdir().unwrap();
    let folders = Folders { raw: Some(root.path().to_owned()), ..Folders::default() };
    (root, folders)
}

/// A copy of a source, to be damaged.
fn source(name: &str) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let copy = root.path().join(name);
    copy_source(name, &copy);
    (root, copy)
}

fn copy_source(name: &str, to: &Path) {
    for file in files(&golden(name)) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(golden(name).join(&file), to.join(&file)).unwrap();
    }
}

/// All files below a folder, relative to it, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn msd(source: &Path, folders: &Folders) -> Result<PathBuf, ConvertError> {
    convert_msd(source, None, folders, Ctx::new(&Silent, &Cancel::new()))
}

fn version_1(source: &Path, name: &str, folders: &Folders) -> Result<PathBuf, ConvertError> {
    convert_version_1(source, name, folders, Ctx::new(&Silent, &Cancel::new()))
}

#[test]
fn decathlon_equals_the_reference() {
    let (_root, folders) = raw();
    let made = msd(&golden("Task07_Scene"), &folders).unwrap();
    let expected = golden("expected/Dataset007_Scene");
    assert_eq!(made.file_name(), expected.file_name());
    assert_eq!(files(&made), files(&expected));
    assert_eq!(
        fs::read(made.join("dataset.json")).unwrap(),
        fs::read(expected.join("dataset.json")).unwrap()
    );
    for file in files(&expected).into_iter().filter(|f| f.extension().is_some_and(|e| e == "gz")) {
        let (ours, theirs) =
            (nifti::read(made.join(&file)).unwrap(), nifti::read(expected.join(&file)).unwrap());
        assert_eq!(ours.volume, theirs.volume, "{}", file.display());
        let (ours, theirs) = (ours.geometry, theirs.geometry);
        assert_eq!(ours.spacing, theirs.spacing, "{}", file.display());
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&ours.origin, &theirs.origin), "{ours:?} {theirs:?}");
        assert!(close(&ours.direction, &theirs.direction), "{ours:?} {theirs:?}");
    }
}

#[test]
fn version_1_equals_the_reference() {
    let (_root, folders) = raw();
    let made = version_1(&golden("Task031_Old"), "Dataset031_Old", &folders).unwrap();
    let expected = golden("expected/Dataset031_Old");
    assert_eq!(files(&made), files(&expected));
    for file in files(&expected) {
        assert_eq!(fs::read(made.join(&file)).unwrap(), fs::read(expected.join(&file)).unwrap());
    }
}

#[test]
fn what_is_there_stays_and_taken_ids_are_refused() {
    let (root, folders) = raw();
    let made = msd(&golden("Task07_Scene"), &folders).unwrap();
    let before = files(root.path());
    let error = msd(&golden("Task07_Scene"), &folders).unwrap_err();
    assert!(error.to_string().contains("Dataset007_Scene"), "{error}");
    assert_eq!(Hint::of(&error), Some(&Hint::AnotherId { converting_task: true }));
    let other =
        convert_msd(&golden("Task07_Scene"), Some(70), &folders, Ctx::new(&Silent, &Cancel::new())).unwrap();
    assert_eq!(other.file_name().unwrap(), "Dataset070_Scene");
    fs::remove_dir_all(other).unwrap();

    let said = version_1(&golden("Task031_Old"), "Dataset007_Scene", &folders).unwrap_err().to_string();
    assert!(said.contains(&made.display().to_string()) && said.contains("exists already"), "{said}");
    let said = version_1(&golden("Task031_Old"), "Dataset007_Other", &folders).unwrap_err().to_string();
    assert!(said.contains("id 7 is taken by Dataset007_Scene"), "{said}");
    let said = version_1(&golden("Task031_Old"), "Old", &folders).unwrap_err().to_string();
    assert!(said.contains("not a dataset name"), "{said}");
    assert_eq!(files(root.path()), before);
}

#[test]
fn a_conversion_that_fails_leaves_nothing() {
    let (root, folders) = raw();
    let (_source, task) = source("Task07_Scene");
    let image = task.join("imagesTr/scene_1.nii.gz");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..300]).unwrap();
    fs::write(task.join("imagesTs/scene_4.nii.gz"), "no image").unwrap();
    let said = msd(&task, &folders).unwrap_err().to_string();
    assert!(said.contains("2 of 8 files") && said.contains("scene_1.nii.gz"), "{said}");
    assert!(said.contains("scene_4.nii.gz: not a NIfTI file"), "{said}");

    let cancel = Cancel::new();
    cancel.cancel();
    let old = golden("Task031_Old");
    let result = convert_version_1(&old, "Dataset031_Old", &folders, Ctx::new(&Silent, &cancel));
    assert!(matches!(result, Err(ConvertError::Interrupted(_))));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn sources_that_are_none_are_told_apart() {
    let (root, folders) = raw();
    let (_source, task) = source("Task07_Scene");
    let json = task.join("dataset.json");
    let text = fs::read_to_string(&json).unwrap();
    for (from, to, said) in [
        ("modality", "channel_names", "key \"modality\" is missing"),
        ("\"labels\"", "\"classes\"", "key \"labels\" is missing"),
        ("\"PZ\"", "\"TZ\"", "two of the name \"TZ\""),
        ("\"2\"", "\"two\"", "labels.two"),
        ("{\"0\": \"T2\"", "{\"0\": 2", "channel_names.0"),
        ("{", "[", "not valid JSON"),
    ] {
        fs::write(&json, text.replacen(from, to, 1)).unwrap();
        let found = msd(&task, &folders).unwrap_err().to_string();
        assert!(found.contains(said) && found.contains("dataset.json"), "{found}");
    }
    fs::remove_file(&json).unwrap();
    fs::remove_dir_all(task.join("labelsTr")).unwrap();
    let found = msd(&task, &folders).unwrap_err().to_string();
    assert!(found.contains("labelsTr, dataset.json missing"), "{found}");
    let renamed = task.with_file_name("Prostate");
    copy_source("Task07_Scene", &renamed);
    let found = msd(&renamed, &folders).unwrap_err().to_string();
    assert!(found.contains("must be named like Task05_Prostate"), "{found}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
