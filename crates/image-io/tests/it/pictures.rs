//! PNG, BMP and TIFF against nnU-Net's readers (`golden/pictures`), round trips, bad input.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_image_io::tiff3d::{self, Naming};
use nnunet_image_io::{metaimage, natural_image};
use nnunet_volume::{SpacingMm, Volume, VolumeError};
use proptest::prelude::*;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures")
}

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Shape (c, z, y, x), values and spacing (z, y, x).
type Read = (Vec<f64>, Vec<f32>, [f64; 3]);

fn read(path: &Path) -> Result<Read, VolumeError> {
    let shape = |c: usize, s: [usize; 3]| [c, s[0], s[1], s[2]].map(|v| v as f64).to_vec();
    if matches!(path.extension().unwrap().to_str().unwrap(), "png" | "bmp") {
        let image = natural_image::read(path)?;
        let shape = shape(image.channels.channels(), image.channels.shape());
        Ok((shape, image.channels.into_data(), image.geometry.spacing_zyx().along_axes()))
    } else {
        let image = tiff3d::read(path, Naming::Channel)?;
        Ok((
            shape(1, image.volume.shape()),
            image.volume.into_data(),
            image.geometry.spacing_zyx().along_axes(),
        ))
    }
}

#[test]
fn reads_what_the_reference_reads() {
    for (name, want) in expected() {
        let got = read(&golden().join(&name));
        if want.is_null() {
            assert!(got.is_err(), "{name}");
            continue;
        }
        // The header alone says the same.
        let path = golden().join(&name);
        let header = if matches!(path.extension().unwrap().to_str().unwrap(), "png" | "bmp") {
            let (channels, [z, y, x]) = natural_image::read_shape(&path).unwrap();
            [channels, z, y, x]
        } else {
            let ([z, y, x], _) = tiff3d::read_shape_and_spacing(&path, Naming::Channel).unwrap();
            [1, z, y, x]
        };
        assert_eq!(header.map(|v| v as f64).to_vec(), numbers(&want["shape"]), "{name}");
        let (shape, values, spacing) = got.unwrap();
        assert_eq!(shape, numbers(&want["shape"]), "{name}");
        assert_eq!(spacing.to_vec(), numbers(&want["spacing"]), "{name}");
        let first: Vec<f64> = values.iter().take(8).map(|&v| f64::from(v)).collect();
        assert_eq!(first, numbers(&want["first"]), "{name}");
        let checksum: f64 =
            values.iter().enumerate().map(|(i, &v)| f64::from(v) * (i % 1009 + 1) as f64).sum();
        assert_eq!(checksum, want["checksum"].as_f64().unwrap(), "{name}");
    }
}

/// TIFF files as flat pictures: stacks of three or four are colours, others are refused.
#[test]
fn reads_flat_tiffs_as_the_reference_does() {
    let text = std::fs::read_to_string(golden().join("expected_flat.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(expected.values().filter(|want| !want.is_null()).count() >= 6);
    for (name, want) in expected {
        let path = golden().join(&name);
        let got = natural_image::read(&path);
        if want.is_null() {
            assert!(got.is_err() && natural_image::read_shape(&path).is_err(), "{name}");
            continue;
        }
        let channels = got.unwrap().channels;
        let [z, y, x] = channels.shape();
        assert_eq!(natural_image::read_shape(&path).unwrap(), (channels.channels(), [z, y, x]), "{name}");
        assert_eq!(
            [channels.channels(), z, y, x].map(|v| v as f64).to_vec(),
            numbers(&want["shape"]),
            "{name}"
        );
        let values = channels.into_data();
        let checksum: f64 =
            values.iter().enumerate().map(|(i, &v)| f64::from(v) * (i % 1009 + 1) as f64).sum();
        assert_eq!(checksum, want["checksum"].as_f64().unwrap(), "{name}");
    }
}

/// With NNUNET_KEEP_WRITTEN set to a folder the files stay there for `make.py --check`.
#[test]
fn labels_survive_writing() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("NNUNET_KEEP_WRITTEN").map_or(temporary.path().to_owned(), PathBuf::from);
    for top in [254u16, 255, 60_000] {
        let flat = Volume::new([1, 2, 3], vec![0, 1, 2, 3, 4, top]).unwrap();
        for ending in ["png", "bmp", "flat.tif"] {
            let path = folder.join(format!("labels_{top}.{ending}"));
            let written = natural_image::write_labels(&path, &flat);
            if ending == "bmp" && top > 254 {
                assert!(written.unwrap_err().to_string().contains("labels up to 254"));
                continue;
            }
            written.unwrap();
            let image = natural_image::read(&path).unwrap();
            assert_eq!((image.channels.channels(), image.channels.shape()), (1, [1, 2, 3]));
            assert_eq!(image.channels.data(), [0.0, 1.0, 2.0, 3.0, 4.0, f32::from(top)]);
        }
        for slices in [1, 4] {
            let data: Vec<u16> = (0..slices * 6).map(|i| if i == 1 { top } else { i as u16 }).collect();
            let volume = Volume::new([slices, 2, 3], data).unwrap();
            let path = folder.join(format!("labels_{slices}_{top}.tif"));
            tiff3d::write_labels(&path, &volume, SpacingMm::new([2.5, 0.1, 1.0])).unwrap();
            let image = tiff3d::read(&path, Naming::Segmentation).unwrap();
            assert_eq!(image.geometry.spacing, [1.0, 0.1, 2.5]);
            assert_eq!(image.volume.shape(), volume.shape());
            assert!(image.volume.data().iter().zip(volume.data()).all(|(a, &b)| *a == f32::from(b)));
        }
    }
}

fn message(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(golden().join(name)).unwrap();
    change(&mut bytes);
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains(name), "{text} does not name the file");
    text
}

#[test]
fn bad_files_end_in_an_error_that_says_what_is_wrong() {
    for (text, say) in [
        (message("rgb.png", |b| b.truncate(b.len() / 2)), "damaged or incomplete"),
        (message("rgb.png", |b| b[0] = 0), "not a PNG, BMP or TIFF file"),
        (message("rgb.png", |b| b[50] ^= 0x55), "damaged or incomplete"),
        (message("grey_alpha.png", |_| ()), "grey with transparency"),
        (message("rgb.bmp", |b| b.truncate(70)), "bytes of voxels but there are"),
        (message("rgb.bmp", |b| b[19] = 0x7f), "bytes of voxels but there are"),
        (message("rgb.bmp", |b| b[18..22].fill(0)), "0 x 5 pixels"),
        (message("rgb.bmp", |b| b[30] = 1), "without compression"),
        (message("rgb.bmp", |b| b.truncate(20)), "the header is cut off"),
        (message("u2_0000.tif", |b| b.truncate(b.len() / 2)), "damaged or incomplete"),
        (message("u2_0000.tif", |b| b[0] = 0), "not a TIFF file"),
        (message("flat_0000.tif", |_| ()), "a flat image of 7 x 5"),
    ] {
        assert!(text.contains(say), "{text} does not say {say}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u2_0000.tif");
    std::fs::copy(golden().join("u2_0000.tif"), &path).unwrap();
    for wrong in ["{\"spacing\": [1, 2]}", "{\"spacing\": [1, 2, -3]}", "no json"] {
        std::fs::write(folder.path().join("u2.json"), wrong).unwrap();
        let text = read(&path).unwrap_err().to_string();
        assert!(text.contains("u2.json: spacing is") && text.contains("three lengths"), "{text}");
    }
    let volume = Volume::filled([2, 2, 2], 1u8);
    let text = natural_image::write_labels(folder.path().join("a.png"), &volume).unwrap_err().to_string();
    assert!(text.contains("a volume of 2 slices"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_bytes_never_panic(file in 0usize..6, at in any::<prop::sample::Index>(), value in any::<u8>(), more in any::<prop::sample::Index>(), other in any::<u8>()) {
        let name = ["palette.png", "palette.bmp", "black_white.bmp", "zlib_0000.tif", "planes_0000.tif", "tiled_0000.tif"][file];
        let mut bytes = std::fs::read(golden().join(name)).unwrap();
        let (i, j) = (at.index(bytes.len().min(200)), more.index(bytes.len()));
        bytes[i] = value;
        bytes[j] = other;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let _ = read(&path);
        let _ = metaimage::read(&path);
    }
}
