//! NIfTI with nibabel's conventions against nnU-Net's two nibabel readers (`golden/nibabel`, files of `golden/nifti`).
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_image_io::nifti::nibabel::{self, NibabelImage};
use nnunet_volume::Volume;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden().join("nibabel/expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn close(name: &str, got: &[f64], want: &Value, tolerance: f64) {
    let want: Vec<f64> = want.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(got.len(), want.len(), "{name}");
    let ok = got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0));
    assert!(ok, "{name}: {got:?} for {want:?}");
}

fn compare(name: &str, image: &NibabelImage, want: &Value) {
    assert_eq!(serde_json::json!(image.volume.shape()), want["shape"], "{name}");
    close(name, &image.spacing_zyx.along_axes(), &want["spacing"], 0.0);
    // Affines in f64 of f32 header values; the order of additions differs.
    for (row, wanted) in image.affine.iter().zip(want["affine"].as_array().unwrap()) {
        close(name, row, wanted, 1e-12);
    }
    // The expectations have zeros for NaN and infinities, which are kept as nibabel keeps them.
    assert_eq!(image.volume.data().iter().any(|v| !v.is_finite()), name == "nonfinite.nii");
    let values: Vec<f64> =
        image.volume.data().iter().map(|&v| if v.is_finite() { f64::from(v) } else { 0.0 }).collect();
    close(name, &values[..values.len().min(8)], &want["first"], 0.0);
    let checksum: f64 = values.iter().enumerate().map(|(i, v)| v * (i % 1009 + 1) as f64).sum();
    // The order of the sum differs.
    close(name, &[checksum], &serde_json::json!([want["checksum"]]), 1e-13);
}

#[test]
fn reads_what_the_reference_reads() {
    let mut compared = 0;
    for (name, want) in expected() {
        let path = golden().join("nifti").join(&name);
        // Flat images, and trailing dimensions of one: those are read here.
        if want["plain"].is_null() {
            continue;
        }
        compare(&name, &nibabel::read(&path).unwrap(), &want["plain"]);
        compare(&name, &nibabel::read_reoriented(&path).unwrap(), &want["turned"]);
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

/// With NNUNET_KEEP_WRITTEN set to a folder the files stay there for `make.py --check`.
#[test]
fn labels_come_back_where_they_were() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("NNUNET_KEEP_WRITTEN").map_or(temporary.path().to_owned(), PathBuf::from);
    let as_labels = |v: &Volume<f32>| {
        let data = v.data().iter().map(|v| (v.abs().round() % 200.0) as u8).collect();
        Volume::new(v.shape(), data).unwrap()
    };
    for (name, _) in
        expected().iter().filter(|(name, _)| name.starts_with("orientation") || name.starts_with("unit"))
    {
        let path = golden().join("nifti").join(name);
        let stem = name.split('.').next().unwrap();
        let plain = nibabel::read(&path).unwrap();
        let plain_path = folder.join(format!("plain_{stem}.nii.gz"));
        nibabel::write_labels(&plain_path, &as_labels(&plain.volume), &plain.affine).unwrap();
        let turned = nibabel::read_reoriented(&path).unwrap();
        let turned_path = folder.join(format!("turned_{stem}.nii.gz"));
        nibabel::write_labels_reoriented(&turned_path, &as_labels(&turned.volume), &turned.original_affine)
            .unwrap();
        for written in [plain_path, turned_path] {
            let again = nibabel::read(&written).unwrap();
            assert_eq!(as_labels(&again.volume), as_labels(&plain.volume), "{name}");
            for (a, b) in again.affine.as_flattened().iter().zip(plain.affine.as_flattened()) {
                assert!((a - b).abs() <= 1e-7 * b.abs().max(1.0), "{name}");
            }
        }
    }
}

#[test]
fn flat_images_are_refused() {
    let text = nibabel::read(golden().join("nifti/flat.nii.gz")).unwrap_err().to_string();
    assert!(text.contains("a flat image") && text.contains("SimpleITKIO"), "{text}");
}
