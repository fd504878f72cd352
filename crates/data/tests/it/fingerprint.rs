//! Fingerprints of small datasets against the reference's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::fingerprint::{Fingerprint, extract};
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::verify::verify;
use nnunet_dataset::{DatasetJson, ImageGeometry, ImageReader, LabelManager, image_formats};
use nnunet_image_io::Image;
use nnunet_image_io::{metaimage, natural_image, nifti, nrrd, tiff3d};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_testkit::shared::shared_path;
use nnunet_volume::{Geometry, SpacingMm, Volume};

#[test]
fn cropped_channels_and_flat_images_equal_the_reference() {
    for name in ["Dataset001_Cropped", "Dataset002_Flat"] {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fingerprint")).join(name);
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        let ours =
            extract(&training_cases(&folder, &json).unwrap(), &json, Ctx::new(&Silent, &Cancel::new()))
                .unwrap();
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
        extract(&training_cases(folder, &json).unwrap(), &json, Ctx::new(&Silent, &Cancel::new()))
            .map_err(|e| e.to_string())
    };
    let expected = take(golden).unwrap();
    let text = std::fs::read_to_string(golden.join("dataset.json")).unwrap();
    let write = |path: &Path, image: &Image| match path.extension().unwrap().to_str().unwrap() {
        "mha" => metaimage::write(path, &image.volume, &image.geometry).unwrap(),
        _ => nrrd::write(path, &image.volume, &image.geometry).unwrap(),
    };
    for ending in [".mha", ".nrrd"] {
        let root = tempfile::tempdir().unwrap();
        for part in ["imagesTr", "labelsTr"] {
            std::fs::create_dir(root.path().join(part)).unwrap();
            for entry in std::fs::read_dir(golden.join(part)).unwrap() {
                let source = entry.unwrap().path();
                let name = source.file_name().unwrap().to_str().unwrap().replace(".nii.gz", ending);
                write(&root.path().join(part).join(name), &nifti::read(&source).unwrap());
            }
        }
        std::fs::write(root.path().join("dataset.json"), text.replace(".nii.gz", ending)).unwrap();
        assert_eq!(take(root.path()).unwrap(), expected, "{ending}");
        let report = verify(root.path(), |_| None, &image_formats(), Ctx::new(&Silent, &Cancel::new()));
        assert!(report.is_usable());

        // Kept with a warning, as SimpleITK keeps it in these formats; for the dataset it is a fault.
        let path = root.path().join(format!("imagesTr/c1_0001{ending}"));
        let mut image = if ending == ".mha" { metaimage::read(&path) } else { nrrd::read(&path) }.unwrap();
        image.volume.data_mut()[3] = f32::NAN;
        write(&path, &image);
        assert!(called("SimpleITKIO").read(&path).unwrap().volume.data()[3].is_nan());
        let report = verify(root.path(), |_| None, &image_formats(), Ctx::new(&Silent, &Cancel::new()));
        assert!(
            report.faults.iter().any(|f| f.to_string().contains("1 voxels are NaN")),
            "{:?}",
            report.faults
        );
    }
}

fn called(name: &str) -> ImageReader {
    let formats = image_formats();
    let ending = formats.get(name).unwrap().endings()[0].to_owned();
    ImageReader::new(&formats, Some(name), &ending, Path::new("dataset.json")).unwrap()
}

#[test]
fn readers_are_chosen_by_name_and_ending() {
    fn reader(name: Option<&str>, ending: &str) -> Result<ImageReader, String> {
        let at = Path::new("dataset.json");
        ImageReader::new(&image_formats(), name, ending, at).map_err(|e| e.to_string())
    }
    for (ending, expected) in [
        (".nii.gz", called("SimpleITKIO")),
        (".NRRD", called("SimpleITKIO")),
        (".mha", called("SimpleITKIO")),
        (".nii", called("NibabelIO")),
        (".png", called("NaturalImage2DIO")),
        (".bmp", called("NaturalImage2DIO")),
        (".tif", called("NaturalImage2DIO")),
        (".tiff", called("Tiff3DIO")),
    ] {
        assert_eq!(reader(None, ending), Ok(expected.clone()), "{ending}");
        assert_eq!(reader(Some("None"), ending), Ok(expected), "as the reference has it");
        let unknown = reader(Some("MyOwnIO"), ending).unwrap_err();
        assert!(unknown.contains("MyOwnIO") && unknown.contains("expected one of "), "{unknown}");
        assert!(image_formats().names().all(|name| unknown.contains(name)), "{unknown}");
    }
    for expected in [called("SimpleITKIO"), called("NibabelIO"), called("NibabelIOWithReorient")] {
        assert_eq!(reader(Some(expected.name()), ".nii"), Ok(expected.clone()));
    }
    assert_eq!(reader(Some("NaturalImage2DIO"), ".tiff"), Ok(called("NaturalImage2DIO")));
    assert_eq!(reader(Some("Tiff3DIO"), ".tif"), Ok(called("Tiff3DIO")));
    assert!(reader(Some("NibabelIO"), ".mha").unwrap_err().contains("NibabelIO for .mha, expected files of"));
    assert!(reader(Some("Tiff3DIO"), ".nii.gz").unwrap_err().contains("expected files of .tif, .tiff"));
    assert!(reader(Some("SimpleITKIOWithReorient"), ".nii.gz").unwrap_err().contains("one of "));
    assert!(reader(Some("NibablIO"), ".nii").unwrap_err().contains("expected one of NibabelIO, "));
    assert!(reader(None, ".jpg").unwrap_err().contains("one of .bmp, .mha, .nii, .nii.gz, .nrrd"));
}

#[test]
fn an_example_decides_between_readers_of_one_ending() {
    let root = tempfile::tempdir().unwrap();
    let choose = |ending: &str, example: &Path| {
        let text = format!(
            r#"{{"channel_names": {{"0": "x"}}, "labels": {{"background": 0}}, "file_ending": "{ending}"}}"#
        );
        let json = DatasetJson::from_json(Json::parse(&text).unwrap(), Path::new("dataset.json")).unwrap();
        ImageReader::for_example(&image_formats(), &json, Some(example)).unwrap()
    };
    let image = |name: &str, slices: usize| {
        let path = root.path().join(name);
        let volume = Volume::filled([slices, 8, 9], 1u8);
        match slices {
            1 => natural_image::write_labels(&path, &volume).unwrap(),
            _ => tiff3d::write_labels(&path, &volume, SpacingMm::UNIT).unwrap(),
        }
        path
    };
    assert_eq!(choose(".tif", &image("flat.tif", 1)), called("NaturalImage2DIO"));
    // A stack of three is an RGB picture to scikit-image.
    assert_eq!(choose(".tif", &image("three.tif", 3)), called("NaturalImage2DIO"));
    assert_eq!(choose(".tif", &image("five.tif", 5)), called("Tiff3DIO"));
    assert_eq!(choose(".png", &image("flat.png", 1)), called("NaturalImage2DIO"));

    // ITK refuses axes that are not at right angles, nibabel takes them.
    let volume = Volume::filled([2, 3, 4], 1u8);
    let skewed = root.path().join("skewed.nii.gz");
    let affine = [[1., 0.3, 0., 0.], [0., 1., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
    nnunet_image_io::nifti::nibabel::write_labels(&skewed, &volume, &affine).unwrap();
    assert_eq!(choose(".nii.gz", &skewed), called("NibabelIO"));
    let straight = root.path().join("straight.nii.gz");
    nifti::write(&straight, &volume, &Geometry::with_spacing([1.0; 3])).unwrap();
    assert_eq!(choose(".nii.gz", &straight), called("SimpleITKIO"));
    // A file that no reader takes leaves the choice to the ending, so that the first reader names the fault.
    let damaged = root.path().join("damaged.nii.gz");
    std::fs::write(&damaged, b"no image").unwrap();
    assert_eq!(choose(".nii.gz", &damaged), called("SimpleITKIO"));
}

#[test]
fn segmentations_are_written_in_the_format_of_their_reader() {
    let root = tempfile::tempdir().unwrap();
    let flat = Volume::new([1, 2, 3], vec![0u32, 1, 2, 3, 4, 5]).unwrap();
    let geometry = ImageGeometry::Itk(Geometry::with_spacing([1.0, 2.0, 3.0]));
    let original = [[0., 0., 3., 1.], [-1., 0., 0., 2.], [0., 2., 0., 3.], [0., 0., 0., 1.]];
    let nibabel =
        ImageGeometry::Nibabel { spacing_zyx: SpacingMm::new([3., 2., 1.]), original, reoriented: None };
    for (reader, ending, geometry) in [
        (called("SimpleITKIO"), ".nii.gz", geometry),
        (called("SimpleITKIO"), ".nii", geometry),
        (called("SimpleITKIO"), ".nrrd", geometry),
        (called("SimpleITKIO"), ".mha", geometry),
        (called("NibabelIO"), ".nii", nibabel),
        (called("NaturalImage2DIO"), ".png", ImageGeometry::Spacing(SpacingMm::new([999., 1., 1.]))),
        (called("NaturalImage2DIO"), ".bmp", ImageGeometry::Spacing(SpacingMm::new([999., 1., 1.]))),
        (called("NaturalImage2DIO"), ".tif", ImageGeometry::Spacing(SpacingMm::new([999., 1., 1.]))),
        (called("Tiff3DIO"), ".tif", ImageGeometry::Spacing(SpacingMm::new([3., 2., 1.]))),
    ] {
        let path = root.path().join(format!("case{ending}"));
        reader.write_labels(&path, &flat, &geometry).unwrap();
        let back = reader.read(&path).unwrap();
        assert_eq!(back.volume, Volume::new([1, 2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap(), "{ending}");
        assert_eq!(back.geometry, geometry, "{reader:?} {ending}");
    }
    let mha = std::fs::read(root.path().join("case.mha")).unwrap();
    assert!(mha.starts_with(b"ObjectType"), "no NIfTI under another name");

    // Turned on reading, turned back on writing.
    let path = root.path().join("turned.nii.gz");
    let turned = called("NibabelIOWithReorient").read(&root.path().join("case.nii")).unwrap();
    assert_eq!(turned.volume.shape(), [2, 3, 1]);
    let labels = turned.volume.data().iter().map(|&v| v as u32).collect();
    let labels = Volume::new(turned.volume.shape(), labels).unwrap();
    called("NibabelIOWithReorient").write_labels(&path, &labels, &turned.geometry).unwrap();
    let back = called("NibabelIO").read(&path).unwrap();
    assert_eq!((back.volume.shape(), back.volume.data()), ([1, 2, 3], &[0., 1., 2., 3., 4., 5.][..]));
    assert_eq!(back.geometry, nibabel);

    let error = called("NibabelIO").write_labels(&path, &flat, &geometry).unwrap_err().to_string();
    assert!(error.contains("another reader than NibabelIO"), "{error}");
}

/// Every number as a float: some public fingerprints were made by hand and have shapes like 256.0.
fn floats(json: Json) -> Json {
    match json {
        Json::Int(value) => Json::Float(value as f64),
        Json::Array(items) => Json::Array(items.into_iter().map(floats).collect()),
        Json::Object(entries) => Json::object(entries.into_iter().map(|(key, value)| (key, floats(value)))),
        other => other,
    }
}

#[test]
fn fingerprints_of_the_reference_are_written_back_as_they_were() {
    let Some(path) = shared_path("reference/dataset004_plans/dataset_fingerprint.json") else { return };
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(Fingerprint::load(&path).unwrap().to_json().to_python(KeyOrder::Kept) == text, "byte for byte");

    let Some(folder) = shared_path("reference/plans_public") else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        LabelManager::new(&json).unwrap();
        let path = folder.join("dataset_fingerprint.json");
        let fingerprint = Fingerprint::load(&path).unwrap();
        assert_eq!(fingerprint.foreground_intensities.len(), json.num_channels());
        let text = std::fs::read_to_string(&path).unwrap();
        let document = Json::parse(&text).unwrap();
        assert!(document.to_python(KeyOrder::Kept) == text, "{}", path.display());
        assert!(floats(fingerprint.to_json()) == floats(document), "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 12);
}
