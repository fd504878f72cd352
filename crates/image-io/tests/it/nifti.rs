//! NIfTI against SimpleITK's reading of the same files (`golden/nifti`), round trips, and hostile files.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_image_io::nifti;
use nnunet_image_io::{ImageWarning, VoxelType};
use nnunet_volume::{Geometry, Volume, VolumeError};
use proptest::prelude::*;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti")
}

fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Spacing, origin and direction as SimpleITK lists them for the file's dimension.
fn as_sitk(g: &Geometry) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let n = usize::from(g.dimension);
    let direction = (0..n).flat_map(|r| (0..n).map(move |c| g.direction[3 * r + c])).collect();
    (g.spacing[..n].to_vec(), g.origin[..n].to_vec(), direction)
}

#[test]
fn reads_what_simpleitk_reads() {
    for (name, want) in expected() {
        let image = nifti::read(golden().join(&name)).unwrap();
        if want.is_null() {
            assert!(matches!(image.warnings[..], [ImageWarning::NonOrthonormalDirection { .. }]), "{name}");
            continue;
        }
        let (spacing, origin, direction) = as_sitk(&image.geometry);
        assert_eq!(spacing, numbers(&want["spacing"]), "{name}");
        assert_eq!(origin, numbers(&want["origin"]), "{name}");
        let want_direction = numbers(&want["direction"]);
        // Both forms set, neither labelled scanner-anatomical, and nearly the same: ITK then compares singular vectors
        // computed in f32, whose rounding decides between two directions that differ by less than 2e-5.
        let either = name.contains("_near_") || name.contains("_equal_");
        if either && ["22", "12", "14"].iter().any(|codes| name.ends_with(&format!("_{codes}.nii"))) {
            assert!(direction.iter().zip(&want_direction).all(|(a, b)| (a - b).abs() < 2e-5), "{name}");
        } else {
            assert_eq!(direction, want_direction, "{name}");
        }
        let mut shape: Vec<f64> = image.volume.shape().iter().map(|&d| d as f64).collect();
        if image.geometry.dimension == 2 {
            shape.remove(0);
        }
        assert_eq!(shape, numbers(&want["shape"]), "{name}");
        let first: Vec<f64> = image.volume.data().iter().take(8).map(|&v| f64::from(v)).collect();
        assert_eq!(first, numbers(&want["first"]), "{name}");
    }
}

#[test]
fn stored_types_and_scaling_are_reported() {
    let read = |name: &str| nifti::read(golden().join(name)).unwrap();
    assert_eq!(read("type_u2_big.nii").stored_type, VoxelType::U16);
    assert!(!read("type_u2_big.nii").scaled);
    assert!(read("scaled_i8.nii").scaled);
    assert_eq!(read("type_f8_little.nii").volume.first_non_label(0.0..=255.0), Some((0, -1.5)));
    assert_eq!(read("one_slice.nii").volume.first_non_label(0.0..=255.0), None);
    let image = read("nonfinite.nii");
    assert_eq!(image.warnings, [ImageWarning::NonFiniteVoxels { count: 18, zeroed: true }]);
    assert_eq!(image.volume.data()[..4], [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(read("zero_spacing.nii").warnings, [ImageWarning::ZeroSpacing { axis: 0 }]);
    assert_eq!(read("flat.nii.gz").geometry.spacing[2], 999.0 * f64::from(1.2f32));
}

/// Writes every golden's image again and reads it back: the geometry must be the same to the bit. With
/// NNUNET_KEEP_WRITTEN set to a folder the files stay there for `make.py --check`.
#[test]
fn geometry_survives_writing_to_the_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("NNUNET_KEEP_WRITTEN").map_or(temporary.path().to_owned(), PathBuf::from);
    for name in expected().keys() {
        let image = nifti::read(golden().join(name)).unwrap();
        let out = folder.join(format!("{}.nii.gz", name.split('.').next().unwrap()));
        nifti::write(&out, &image.volume, &image.geometry).unwrap();
        let again = nifti::read(&out).unwrap();
        if name.starts_with("negative_") || name.starts_with("unit_") {
            // With a negative spacing the quaternion's columns have length one, and no f32 column of the spacing's
            // length need have the same direction; metres in mm are no f32 either. Single precision is what is left.
            let all = |g: &Geometry| [&g.spacing[..], &g.origin, &g.direction].concat();
            let pairs = all(&again.geometry).into_iter().zip(all(&image.geometry));
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-7 * b.abs().max(1.0)), "{name}");
            continue;
        }
        assert_eq!(again.geometry, image.geometry, "{name}");
        assert_eq!(again.volume, image.volume, "{name}");
        assert_eq!(nifti::read_geometry(&out).unwrap(), (image.volume.shape(), image.geometry), "{name}");
    }
}

#[test]
fn same_image_same_bytes_and_nothing_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let labels = Volume::new([2, 3, 4], (0..24u8).collect()).unwrap();
    let geometry = Geometry::with_spacing([0.7, 0.7, 3.0]);
    let [a, b] = ["a.nii.gz", "b.nii.gz"].map(|n| folder.path().join(n));
    nifti::write_labels(&a, &labels, &geometry).unwrap();
    nifti::write_labels(&b, &labels, &geometry).unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(nifti::read(&a).unwrap().stored_type, VoxelType::U8);
    let high = Volume::new([1, 1, 2], vec![3u16, 255]).unwrap();
    nifti::write_labels(&a, &high, &geometry).unwrap();
    let image = nifti::read(&a).unwrap();
    assert_eq!((image.stored_type, image.volume.data()), (VoxelType::U16, &[3.0, 255.0][..]));
    let missing = folder.path().join("no/such/folder/a.nii");
    assert!(matches!(nifti::write(&missing, &high, &geometry), Err(VolumeError::Io { .. })));
}

/// The bytes of a good file, with a change.
fn changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(golden().join(name)).unwrap();
    change(&mut bytes);
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn message(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (_folder, path) = changed(name, change);
    let text = nifti::read(&path).unwrap_err().to_string();
    assert!(text.contains(name), "{text} does not name the file");
    text
}

fn put(at: usize, raw: &[u8]) -> impl FnOnce(&mut Vec<u8>) {
    move |b| b[at..at + raw.len()].copy_from_slice(raw)
}

fn dims(d: [i16; 8]) -> impl FnOnce(&mut Vec<u8>) {
    move |b| (0..8).for_each(|i| b[40 + 2 * i..42 + 2 * i].copy_from_slice(&d[i].to_le_bytes()))
}

#[test]
fn hostile_files_end_in_an_error_that_says_what_to_do() {
    let file = "type_i2_little.nii";
    let text = message(file, |b| b.truncate(300));
    assert!(text.contains("not a NIfTI file") && text.contains("300 bytes"), "{text}");
    let text = message(file, put(344, b"hello"));
    assert!(text.contains("hel") && text.contains("n+1"), "{text}");
    let text = message(file, |b| b.truncate(380));
    assert!(text.contains("48 bytes of voxels but there are 28"), "{text}");
    let text = message(file, dims([4, 4, 3, 1, 2, 1, 1, 1]));
    assert!(text.contains("shape [4, 3, 1, 2]") && text.contains("a file of its own"), "{text}");
    let text = message(file, dims([3, 4, 0, 2, 1, 1, 1, 1]));
    assert!(text.contains("dim[2] is 0"), "{text}");
    let text = message(file, dims([3, -4, 3, 2, 1, 1, 1, 1]));
    assert!(text.contains("dim[1] is -4"), "{text}");
    let text = message(file, dims([0, 4, 3, 2, 1, 1, 1, 1]));
    assert!(text.contains("dim[0]"), "{text}");
    let text = message(file, dims([1, 24, 1, 1, 1, 1, 1, 1]));
    assert!(text.contains("expected 2 or 3"), "{text}");
    let text = message(file, dims([3, 32767, 32767, 32767, 1, 1, 1, 1]));
    assert!(text.contains("70362301923326") && text.contains("there are 48"), "{text}");
    let text = message(file, put(80, &f32::NAN.to_le_bytes()));
    assert!(text.contains("pixdim[1]") && text.contains("NaN"), "{text}");
    let text = message(file, put(70, &128i16.to_le_bytes()));
    assert!(text.contains("a colour image is not supported"), "{text}");
    let text = message(file, put(70, &77i16.to_le_bytes()));
    assert!(text.contains("datatype 77"), "{text}");
    let text = message(file, |b| {
        put(254, &1i16.to_le_bytes())(b);
        put(280, &[0; 48])(b);
    });
    assert!(text.contains("sform"), "{text}");
    let text = message(file, put(344, b"ni1\0"));
    assert!(text.contains(".hdr and .img"), "{text}");
    let text = message("slope_one.nii.gz", |b| b.truncate(b.len() - 12));
    assert!(text.contains("damaged or incomplete"), "{text}");
    let text = message("slope_one.nii.gz", |b| {
        let at = b.len() - 6;
        b[at] ^= 0x55;
    });
    assert!(text.contains("damaged or incomplete"), "{text}");
    let text = message("slope_one.nii.gz", |b| b.truncate(40));
    assert!(text.contains("damaged or incomplete"), "{text}");
    let gone = nifti::read("/nowhere/case_0000.nii.gz").unwrap_err().to_string();
    assert!(gone.contains("case_0000.nii.gz: cannot open it"), "{gone}");
}

#[test]
fn compressed_file_that_claims_the_impossible_is_refused_before_memory_is_taken() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.nii.gz");
    let mut header = std::fs::read(golden().join("type_i2_little.nii")).unwrap();
    dims([3, 32767, 32767, 32767, 1, 1, 1, 1])(&mut header);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&header).unwrap();
    gz.write_all(&vec![0; 1 << 20]).unwrap();
    std::fs::write(&path, gz.finish().unwrap()).unwrap();
    let text = nifti::read(&path).unwrap_err().to_string();
    assert!(text.contains("cannot hold more than"), "{text}");
}

fn nifti2_bytes(volume: &Volume<i16>, big_endian: bool) -> Vec<u8> {
    let mut b = vec![0u8; 544];
    let order = |raw: &[u8]| if big_endian { raw.iter().rev().copied().collect() } else { raw.to_vec() };
    let mut put = |at: usize, raw: Vec<u8>| b[at..at + raw.len()].copy_from_slice(&raw);
    put(0, order(&540i32.to_le_bytes()));
    put(4, b"n+2\0\r\n\x1a\n".to_vec());
    put(12, order(&4i16.to_le_bytes()));
    let [z, y, x] = volume.shape();
    for (i, d) in [3, x, y, z, 1, 1, 1, 1].into_iter().enumerate() {
        put(16 + 8 * i, order(&(d as i64).to_le_bytes()));
    }
    for (i, p) in [1.0, 0.1, 0.2, 0.3f64].into_iter().enumerate() {
        put(104 + 8 * i, order(&p.to_le_bytes()));
    }
    put(168, order(&544i64.to_le_bytes()));
    put(344, order(&1i32.to_le_bytes()));
    put(376, order(&(-1.1f64).to_le_bytes()));
    put(500, order(&2i32.to_le_bytes()));
    b.extend(volume.data().iter().flat_map(|v| order(&v.to_le_bytes())));
    b
}

#[test]
fn nifti2_keeps_double_precision() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::new([2, 3, 4], (0..24).map(|v| v - 300).collect::<Vec<i16>>()).unwrap();
    for big_endian in [false, true] {
        let path = folder.path().join("a.nii");
        std::fs::write(&path, nifti2_bytes(&volume, big_endian)).unwrap();
        let image = nifti::read(&path).unwrap();
        assert_eq!(image.geometry.spacing, [0.1, 0.2, 0.3]);
        assert_eq!(image.geometry.origin, [1.1, 0.0, 0.0]);
        assert_eq!(image.geometry.direction, [-1., 0., 0., 0., -1., 0., 0., 0., 1.]);
        assert!(image.volume.data().iter().zip(volume.data()).all(|(a, &b)| *a == f32::from(b)));
    }
    // Longer than NIfTI-1 can say.
    let long = Volume::filled([1, 1, 40_000], 7u8);
    let path = folder.path().join("long.nii.gz");
    let geometry = Geometry::with_spacing([0.1, 0.2, 0.3]);
    nifti::write(&path, &long, &geometry).unwrap();
    let image = nifti::read(&path).unwrap();
    assert_eq!((image.volume.shape(), image.geometry), ([1, 1, 40_000], geometry));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_label_map_survives(
        shape in [1usize..6, 1usize..6, 1usize..6],
        seed in any::<u16>(),
        spacing in [0.01f32..50.0, 0.01f32..50.0, 0.01f32..50.0],
        origin in [-500f32..500.0, -500f32..500.0, -500f32..500.0],
        compressed in any::<bool>(),
    ) {
        let n = shape.iter().product::<usize>();
        let data: Vec<u16> = (0..n).map(|i| (i as u16).wrapping_mul(7919) ^ seed).collect();
        let volume = Volume::new(shape, data).unwrap();
        let mut geometry = Geometry::with_spacing(spacing.map(f64::from));
        geometry.origin = origin.map(f64::from);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if compressed { "a.nii.gz" } else { "a.nii" });
        nifti::write(&path, &volume, &geometry).unwrap();
        let image = nifti::read(&path).unwrap();
        prop_assert_eq!(image.geometry, geometry);
        prop_assert!(image.volume.data().iter().zip(volume.data()).all(|(a, &b)| *a == f32::from(b)));
    }

    #[test]
    fn changed_bytes_never_panic(at in 0usize..400, value in any::<u8>(), second in 40usize..56, other in any::<u8>()) {
        let (_folder, path) = changed("type_i2_little.nii", |b| {
            b[at] = value;
            b[second] = other;
        });
        let _ = nifti::read(&path);
    }
}
