//! Datasets with labels and channels of their own as one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::convert::{MergeSource, merge_datasets};
use nnunet_dataset::{DatasetJson, DatasetName, Folders, image_formats};
use nnunet_image_io::nifti;
use nnunet_testkit::phantom::PhantomDataset;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// Datasets 1 and 2 of two cases each, of one and two channels.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (channels, name) in [(1, "Dataset001_One"), (2, "Dataset002_Two")] {
            PhantomDataset { cases: 2, channels, ..Default::default() }.write(root.path(), name);
        }
        Self { root }
    }

    fn merge(&self, labels: &[(&str, &str)]) -> Result<PathBuf, String> {
        self.merge_as("a", labels)
    }

    /// Merges with this name of the first source.
    fn merge_as(&self, first: &str, labels: &[(&str, &str)]) -> Result<PathBuf, String> {
        let source = |dataset: &str, name: &str, labels: Option<&[(&str, &str)]>| MergeSource {
            dataset: DatasetName::new(dataset).unwrap(),
            name: name.to_owned(),
            labels: labels.map(|l| l.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()),
        };
        let sources = [source("Dataset001_One", first, Some(labels)), source("Dataset002_Two", "b", None)];
        let folders = Folders { raw: Some(self.root.path().to_owned()), ..Folders::default() };
        let cancel = Cancel::new();
        let ctx = Ctx::new(&Silent, &cancel);
        merge_datasets(&sources, "Dataset003_Both", &folders, &image_formats(), ctx)
            .map_err(|e| e.to_string())
    }

    fn labels(&self, file: impl AsRef<Path>) -> Vec<i32> {
        let read = nifti::read(self.root.path().join(file)).unwrap();
        let mut values: Vec<i32> = read.volume.data().iter().map(|&value| value as i32).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

#[test]
fn labels_get_their_new_values_and_channels_that_a_source_lacks_are_optional() {
    let place = Place::new();
    let folder = place.merge(&[("shell", "background"), ("core", "centre")]).unwrap();
    let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
    let names: Vec<&str> = json.labels.keys().map(String::as_str).collect();
    assert_eq!(names, ["background", "centre", "shell", "core"]);
    assert_eq!((json.num_channels(), json.optional_channels.as_slice()), (2, &[1][..]));
    assert_eq!(json.annotated_in("a_ball_001").unwrap(), ["centre"]);
    assert_eq!(json.annotated_in("b_ball_000").unwrap(), ["shell", "core"]);
    assert_eq!(place.labels("Dataset003_Both/labelsTr/a_ball_000.nii.gz"), [0, 1]);
    assert_eq!(place.labels("Dataset003_Both/labelsTr/b_ball_000.nii.gz"), [0, 2, 3]);
    let cases = training_cases(&folder, &json).unwrap();
    let absent: Vec<&[usize]> = cases.iter().map(|case| case.absent.as_slice()).collect();
    assert_eq!(absent, [&[1][..], &[1], &[], &[]]);
    assert!(place.merge(&[("shell", "shell"), ("core", "core")]).unwrap_err().contains("exists already"));
}

#[test]
fn labels_of_one_name_are_one_class() {
    let place = Place::new();
    let folder = place.merge(&[("shell", "ball"), ("core", "ball")]).unwrap();
    assert_eq!(place.labels(folder.join("labelsTr/a_ball_000.nii.gz")), [0, 1]);
    let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
    assert_eq!(json.annotated_in("a_ball_000").unwrap(), ["ball"]);
}

#[test]
fn a_value_that_the_source_does_not_declare_makes_no_dataset() {
    let place = Place::new();
    let path = place.root.path().join("Dataset001_One/dataset.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(", \"core\": 2", "");
    std::fs::write(path, text).unwrap();
    let error = place.merge(&[("shell", "shell")]).unwrap_err();
    assert!(
        error.contains("ball_000.nii.gz: has the value 2, which its dataset.json does not declare"),
        "{error}"
    );
    assert!(!place.root.path().join("Dataset003_Both").exists());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_before_anything_is_written() {
    let place = Place::new();
    let everything = || std::fs::read_dir(place.root.path()).unwrap().count();
    let before = everything();
    for name in ["", "../a", "sub/a", "/a", "a b", "."] {
        let error = place.merge_as(name, &[("shell", "shell"), ("core", "core")]).unwrap_err();
        assert!(error.contains(&format!("the source's name is {name:?}; expected letters")), "{error}");
        assert_eq!(everything(), before, "{name:?}");
    }
}
