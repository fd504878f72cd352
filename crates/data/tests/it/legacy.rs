//! Preprocessed cases of older versions of nnU-Net (tests/golden/legacy/make.py).
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet_data::preprocess::{StoredCase, stored_cases};
use nnunet_testkit::npy::{Array, read_npz};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/legacy")
}

/// A folder with copies of `files` of the golden one.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(golden().join(file), root.path().join(file)).unwrap();
    }
    root
}

/// The part of a (c, z, y, x) array from `start` of `size`, all channels.
fn part(array: &Array, start: [usize; 3], size: [usize; 3]) -> Vec<f64> {
    let [channels, depth, height, width] = array.shape[..].try_into().unwrap();
    let mut out = Vec::new();
    for c in 0..channels {
        for z in start[0]..start[0] + size[0] {
            for y in start[1]..start[1] + size[1] {
                let row = ((c * depth + z) * height + y) * width + start[2];
                out.extend(&array.data[row..row + size[2]]);
            }
        }
    }
    out
}

fn equals_archive(root: &Path, case: &str) {
    let expected = read_npz(golden().join(format!("{case}.npz")));
    let stored = StoredCase::open(root, case).unwrap();
    assert_eq!(stored.channels(), expected["data"].shape[0]);
    assert_eq!(stored.shape(), expected["data"].shape[1..]);
    let whole = stored.shape();
    for (start, size) in [([0; 3], whole), ([1, 2, 3], [2, 3, 1]), ([0, 1, 0], [whole[0], 1, whole[2]])] {
        let data = stored.read_data(start, size).unwrap();
        assert!(data.data().iter().map(|v| f64::from(*v)).eq(part(&expected["data"], start, size)));
        let labels = stored.read_segmentation(start, size).unwrap();
        assert!(labels.data().iter().map(|v| f64::from(*v)).eq(part(&expected["seg"], start, size)));
    }
    assert!(stored.read_data([1, 0, 0], whole).is_err());
    let locations = stored.properties().unwrap().class_locations.unwrap();
    assert_eq!(locations.len(), 2);
}

#[test]
fn archives_are_unpacked_and_read_in_boxes() {
    let root = folder(&["a.npz", "a.pkl", "b.npz", "b.pkl"]);
    assert_eq!(stored_cases(root.path()).unwrap(), ["a", "b"]);
    equals_archive(root.path(), "a");
    equals_archive(root.path(), "b");
    let unpacked = root.path().join("a.npy");
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = time(&unpacked);
    equals_archive(root.path(), "a");
    assert_eq!(time(&unpacked), before, "unpacked once");
    // What a killed unpacking left is not taken for whole.
    let bytes = fs::read(&unpacked).unwrap();
    fs::write(&unpacked, &bytes[..bytes.len() - 4]).unwrap();
    equals_archive(root.path(), "a");
    assert_eq!(fs::read(&unpacked).unwrap(), bytes);
}

#[test]
fn blosc2_is_preferred_where_both_are_there() {
    let root = folder(&["a.npz", "a.pkl", "a.b2nd", "a_seg.b2nd"]);
    fs::write(root.path().join("a.npz"), "damaged").unwrap();
    equals_archive(root.path(), "a");
    assert!(!root.path().join("a.npy").exists());
}

#[test]
fn damaged_archives_say_so() {
    let root = folder(&["a.npz", "a.pkl", "b.npz"]);
    let archive = root.path().join("a.npz");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    let said = StoredCase::open(root.path(), "a").unwrap_err().to_string();
    assert!(said.contains("a.npz") && said.contains("Preprocess the case again"), "{said}");
    // Changed where the compressed data is.
    let mut damaged = bytes;
    damaged[200] ^= 0x55;
    fs::write(&archive, damaged).unwrap();
    assert!(StoredCase::open(root.path(), "a").is_err());
    assert!(!root.path().join("a.npy").exists());
    assert_eq!(stored_cases(root.path()).unwrap(), ["a"], "b has no properties");
}
