//! MetaImage and NRRD against SimpleITK's reading of the same files (`golden/itk_formats`), round trips, bad input.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_image_io::{Image, VoxelType};
use nnunet_image_io::{metaimage, nrrd};
use nnunet_volume::{Geometry, Result, Volume};
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/itk_formats")
}

fn read(path: &Path) -> Result<Image> {
    if path.extension().unwrap() == "mha" { metaimage::read(path) } else { nrrd::read(path) }
}

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= tolerance), "{name}: {got:?} for {want:?}");
}

/// MetaImage keeps every bit; NRRD multiplies spacing into the directions and ITK's way back rounds.
fn tolerance(name: &str) -> f64 {
    if name.ends_with(".mha") { 0.0 } else { 4e-16 }
}

#[test]
fn reads_what_simpleitk_reads() {
    for (name, want) in expected() {
        let image = read(&golden().join(&name)).unwrap();
        let g = image.geometry;
        let n = usize::from(g.dimension);
        let direction: Vec<f64> = (0..n * n).map(|i| g.direction[3 * (i / n) + i % n]).collect();
        close(&name, &g.spacing[..n], &numbers(&want["spacing"]), tolerance(&name));
        close(&name, &g.origin[..n], &numbers(&want["origin"]), 0.0);
        close(&name, &direction, &numbers(&want["direction"]), tolerance(&name));
        let shape: Vec<f64> = image.volume.shape()[3 - n..].iter().map(|&d| d as f64).collect();
        assert_eq!(shape, numbers(&want["shape"]), "{name}");
        let first: Vec<f64> = image.volume.data().iter().take(8).map(|&v| f64::from(v)).collect();
        assert_eq!(first, numbers(&want["first"]), "{name}");
        assert!(image.warnings.is_empty(), "{name}: {:?}", image.warnings);
    }
}

/// With NNUNET_KEEP_WRITTEN set to a folder the files stay there for `make.py --check`.
#[test]
fn images_survive_writing() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("NNUNET_KEEP_WRITTEN").map_or(temporary.path().to_owned(), PathBuf::from);
    for name in expected().keys() {
        let image = read(&golden().join(name)).unwrap();
        let path = folder.join(name);
        if name.ends_with(".mha") {
            metaimage::write(&path, &image.volume, &image.geometry).unwrap();
        } else {
            nrrd::write(&path, &image.volume, &image.geometry).unwrap();
        }
        let again = read(&path).unwrap();
        assert_eq!(again.volume, image.volume, "{name}");
        close(name, &again.geometry.spacing, &image.geometry.spacing, 2.0 * tolerance(name));
        close(name, &again.geometry.direction, &image.geometry.direction, 2.0 * tolerance(name));
        assert_eq!(again.geometry.origin, image.geometry.origin, "{name}");
        assert_eq!(again.geometry.dimension, image.geometry.dimension, "{name}");
    }
}

#[test]
fn labels_take_the_small_type() {
    let folder = tempfile::tempdir().unwrap();
    let geometry = Geometry::with_spacing([0.1, 0.2, 0.3]);
    for (top, stored) in [(254u16, VoxelType::U8), (255, VoxelType::U16)] {
        let labels = Volume::new([1, 2, 3], vec![0, 1, 2, 3, 4, top]).unwrap();
        let [mha, nrrd_path] = ["a.mha", "a.nrrd"].map(|n| folder.path().join(n));
        metaimage::write_labels(&mha, &labels, &geometry).unwrap();
        nrrd::write_labels(&nrrd_path, &labels, &geometry).unwrap();
        for path in [mha, nrrd_path] {
            let image = read(&path).unwrap();
            assert_eq!((image.stored_type, image.geometry), (stored, geometry));
            assert_eq!(image.volume.data()[5], f32::from(top));
        }
    }
}

fn message(name: &str, from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(golden().join(name)).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    let changed = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    let path = folder.path().join(name);
    std::fs::write(&path, changed).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains(name), "{text} does not name the file");
    text
}

#[test]
fn hostile_headers_end_in_an_error_that_says_what_is_wrong() {
    for (name, from, to, say) in [
        ("u1.mha", "LOCAL", "a.raw", "voxels are in \"a.raw\""),
        ("u1.mha", "ElementDataFile", "ElementDataFule", "no line \"ElementDataFile"),
        ("u1.mha", "DimSize = 4 3 2", "DimSize = 4 3 0", "positive whole numbers"),
        ("u1.mha", "DimSize = 4 3 2", "DimSize = 4 3 3", "36 bytes of voxels but there are 24"),
        ("u1.mha", "DimSize = 4 3 2", "DimSize = 4 3 2 1", "NDims"),
        ("u1.mha", "DimSize = 4 3 2", "DimSize = 999999999 999999999 999999999", "the shape is"),
        ("u1.mha", "MET_UCHAR", "MET_STRING", "ElementType is \"MET_STRING\""),
        ("u1.mha", "ElementSpacing = 0", "ElementSpacing = -0", "ElementSpacing is"),
        ("u1.mha", "Offset = 1.5", "Offset = nan", "3 finite numbers"),
        ("i2.mha", "DimSize = 4 3 2", "DimSize = 4000 3000 2", "cannot hold more than"),
        ("i2.mha", "DimSize = 4 3 2", "DimSize = 4 3 20", "there are 48"),
        ("u1.nrrd", "NRRD0004", "NORD0004", "first line"),
        ("u1.nrrd", "sizes: 4 3 2", "sizes: 4 3 3", "36 bytes of voxels but there are 24"),
        ("u1.nrrd", "sizes: 4 3 2", "sizes: 4 -3 2", "positive whole numbers"),
        ("u1.nrrd", "encoding: raw", "encoding: bz2", "raw or gzip"),
        ("u1.nrrd", "domain domain domain", "domain domain vector", "several values per voxel"),
        ("u1.nrrd", "(0,0,2.5)", "(0,0,0)", "longer than 0"),
        ("u1.nrrd", "encoding: raw", "encoding: raw\ndatafile: a.raw", "data file"),
        ("u2.nrrd", "endian: little", "endian: middle", "little or big"),
        ("i2.nrrd", "sizes: 4 3 2", "sizes: 4000 3000 2", "cannot hold more than"),
    ] {
        let text = message(name, from, to);
        assert!(text.contains(say), "{name}, {to}: {text}");
    }
}
