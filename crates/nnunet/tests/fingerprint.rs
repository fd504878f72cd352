//! Fingerprints of small datasets against the reference's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nnunet::dataset::cases::training_cases;
use nnunet::dataset::verify::verify;
use nnunet::dataset::{DatasetJson, ImageReader};
use nnunet::fingerprint::{Fingerprint, extract};
use nnunet::progress::{Cancel, Silent};
use nnunet_volume::formats::{metaimage, nrrd};

#[test]
fn cropped_channels_and_flat_images_equal_the_reference() {
    for name in ["Dataset001_Cropped", "Dataset002_Flat"] {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fingerprint")).join(name);
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        let ours = extract(&training_cases(&folder, &json).unwrap(), &json, &Silent, &Cancel::new()).unwrap();
        let reference = Fingerprint::load(&folder.join("dataset_fingerprint.json")).unwrap();
        assert_eq!(ours.spacings, reference.spacings, "{name}");
        assert_eq!(ours.shapes_after_crop, reference.shapes_after_crop, "{name}");
        assert_eq!(ours.median_relative_size_after_cropping, reference.median_relative_size_after_cropping);
        assert_eq!(ours.foreground_intensities.len(), reference.foreground_intensities.len());
        for (a, b) in ours.foreground_intensities.iter().zip(&reference.foreground_intensities) {
            assert_eq!((a.min, a.max, a.median), (b.min, b.max, b.median), "{name}");
            assert_eq!(
                (a.percentile_00_5, a.percentile_99_5),
                (b.percentile_00_5, b.percentile_99_5),
                "{name}"
            );
            // The reference sums 10^8 values in f32.
            let scale = b.max.abs().max(b.min.abs());
            assert!((a.mean - b.mean).abs() < 1e-6 * scale, "{name}: {} {}", a.mean, b.mean);
            assert!((a.std - b.std).abs() < 1e-6 * scale, "{name}: {} {}", a.std, b.std);
        }
    }
}

#[test]
fn the_format_of_the_files_makes_no_difference() {
    let golden =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fingerprint/Dataset001_Cropped"));
    let take = |folder: &Path| {
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        extract(&training_cases(folder, &json).unwrap(), &json, &Silent, &Cancel::new())
            .map_err(|e| e.to_string())
    };
    let expected = take(golden).unwrap();
    let text = std::fs::read_to_string(golden.join("dataset.json")).unwrap();
    for (ending, reader) in [(".mha", ImageReader::MetaImage), (".nrrd", ImageReader::Nrrd)] {
        let root = tempfile::tempdir().unwrap();
        for part in ["imagesTr", "labelsTr"] {
            std::fs::create_dir(root.path().join(part)).unwrap();
            for entry in std::fs::read_dir(golden.join(part)).unwrap() {
                let source = entry.unwrap().path();
                let image = ImageReader::Nifti.read(&source).unwrap();
                let name = source.file_name().unwrap().to_str().unwrap().replace(".nii.gz", ending);
                let target = root.path().join(part).join(name);
                match reader {
                    ImageReader::MetaImage => {
                        metaimage::write(&target, &image.volume, &image.geometry).unwrap()
                    }
                    _ => nrrd::write(&target, &image.volume, &image.geometry).unwrap(),
                }
            }
        }
        std::fs::write(root.path().join("dataset.json"), text.replace(".nii.gz", ending)).unwrap();
        assert_eq!(take(root.path()).unwrap(), expected, "{ending}");
        let report = verify(root.path(), &Silent, &Cancel::new());
        assert!(report.is_usable());

        // Read as zero with a warning, as from NIfTI files; for the dataset it is a fault.
        let path = root.path().join(format!("imagesTr/c1_0001{ending}"));
        let mut image = reader.read(&path).unwrap();
        image.volume.data_mut()[3] = f32::NAN;
        match reader {
            ImageReader::MetaImage => metaimage::write(&path, &image.volume, &image.geometry).unwrap(),
            _ => nrrd::write(&path, &image.volume, &image.geometry).unwrap(),
        }
        let report = verify(root.path(), &Silent, &Cancel::new());
        assert!(
            report.faults.iter().any(|f| f.to_string().contains("1 voxels are NaN")),
            "{:?}",
            report.faults
        );
    }
}

#[test]
fn readers_are_chosen_by_ending_and_name() {
    let at = Path::new("dataset.json");
    let reader = |name, ending| ImageReader::new(name, ending, at).map_err(|e| e.to_string());
    assert_eq!(reader(None, ".nii"), Ok(ImageReader::Nifti));
    assert_eq!(reader(Some("SimpleITKIO"), ".NRRD"), Ok(ImageReader::Nrrd));
    assert_eq!(reader(Some("MyOwnIO"), ".mha"), Ok(ImageReader::MetaImage), "as the reference falls back");
    assert!(reader(Some("NibabelIO"), ".mha").unwrap_err().contains("found NibabelIO for .mha"));
    assert!(reader(Some("Tiff3DIO"), ".nii.gz").unwrap_err().contains("expected SimpleITKIO"));
    assert!(reader(None, ".jpg").unwrap_err().contains("one of .nii.gz, .nii, .nrrd, .mha"));
}

#[test]
fn segmentations_are_written_in_the_format_of_their_ending() {
    let root = tempfile::tempdir().unwrap();
    let labels = nnunet_volume::Volume::new([1, 2, 3], vec![0u32, 1, 2, 3, 4, 5]).unwrap();
    let geometry = nnunet_volume::Geometry::with_spacing([1.0, 2.0, 3.0]);
    for ending in [".nii.gz", ".nii", ".nrrd", ".mha"] {
        let path = root.path().join(format!("case{ending}"));
        let format = ImageReader::from_file_ending(ending, &path).unwrap();
        format.write_labels(&path, &labels, &geometry).unwrap();
        let back = format.read(&path).unwrap();
        assert_eq!(back.volume.data(), [0., 1., 2., 3., 4., 5.], "{ending}");
        assert_eq!(back.geometry, geometry, "{ending}");
    }
    let mha = std::fs::read(root.path().join("case.mha")).unwrap();
    assert!(mha.starts_with(b"ObjectType"), "no NIfTI under another name");
}
