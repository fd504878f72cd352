//! Preprocessed cases against the reference's: data within 1e-4, segmentations and class locations
//! equal, properties equal.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_base::progress::Silent;
use nnunet_data::Parts;
use nnunet_data::plan::Plans;
use nnunet_data::preprocess::{PreprocessedCase, Preprocessor, read_case};
use nnunet_dataset::{Case, DatasetJson, ImageGeometry, ImageReader, LabelManager};
use nnunet_pyformats::json::Json;
use nnunet_testkit::npy::{read_npy, read_npz};
use nnunet_testkit::shared::shared_path;

/// Largest and median difference.
fn differences(ours: &[f32], theirs: &[f32]) -> (f32, f32) {
    let mut all: Vec<f32> = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).collect();
    all.sort_by(f32::total_cmp);
    (all[all.len() - 1], all[all.len() / 2])
}

fn numbers(value: &Json) -> Vec<f64> {
    match value.as_array() {
        Some(list) => list.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

fn check_properties(ours: &PreprocessedCase, path: &Path) {
    let theirs = Json::load(path).unwrap();
    let properties = &ours.properties;
    let expect = |key: &str, values: Vec<f64>| {
        assert_eq!(numbers(theirs.get(key).unwrap()), values, "{} {key}", path.display());
    };
    let counts = |values: [usize; 3]| values.map(|v| v as f64).to_vec();
    expect("spacing", properties.spacing.along_axes().to_vec());
    expect("shape_before_cropping", counts(properties.shape_before_cropping));
    let key = "shape_after_cropping_and_before_resampling";
    expect(key, counts(properties.shape_after_cropping_and_before_resampling));
    let crop = properties.bbox_used_for_cropping;
    let sides = [0, 1, 2].iter().flat_map(|&a| [crop.lower[a] as f64, crop.upper[a] as f64]).collect();
    expect("bbox_used_for_cropping", sides);
    match properties.geometry {
        ImageGeometry::Itk(geometry) => {
            let sitk = theirs.get("sitk_stuff").unwrap();
            let axes = usize::from(geometry.dimension);
            assert_eq!(numbers(sitk.get("spacing").unwrap()), geometry.spacing[..axes]);
            assert_eq!(numbers(sitk.get("origin").unwrap()), geometry.origin[..axes]);
            let rows = geometry.direction.chunks(3).take(axes).flat_map(|row| &row[..axes]);
            assert_eq!(numbers(sitk.get("direction").unwrap()), rows.copied().collect::<Vec<_>>());
        }
        ImageGeometry::Nibabel { original, reoriented, .. } => {
            let nibabel = theirs.get("nibabel_stuff").unwrap();
            let affines = [("original_affine", Some(original)), ("reoriented_affine", reoriented)];
            for (key, affine) in affines {
                assert_eq!(nibabel.get(key).map(numbers), affine.map(|m| m.as_flattened().to_vec()), "{key}");
            }
        }
        ImageGeometry::Spacing(_) => {
            assert!(theirs.get("sitk_stuff").is_none() && theirs.get("nibabel_stuff").is_none());
        }
    }
}

fn check_class_locations(ours: &PreprocessedCase, path: &Path) {
    let theirs = read_npz(path);
    let locations = ours.properties.class_locations.as_ref().unwrap();
    let sampled = locations.iter().filter(|(_, voxels)| !voxels.is_empty()).count();
    assert_eq!(sampled, theirs.len(), "{}", path.display());
    for (class, voxels) in locations.iter().filter(|(_, voxels)| !voxels.is_empty()) {
        let expected = &theirs[&class.key()];
        assert_eq!(expected.shape, [voxels.len(), 4]);
        let flat: Vec<f64> =
            voxels.iter().flat_map(|v| [0.0, v[0].into(), v[1].into(), v[2].into()]).collect();
        assert_eq!(flat, expected.data, "{} class {}", path.display(), class.key());
    }
}

/// Checks every run of a case; the number of runs.
fn check_case(folder: &Path) -> usize {
    let info = Json::load(&folder.join("info.json")).unwrap();
    let dataset = DatasetJson::load(&folder.join("dataset.json")).unwrap();
    let labels = LabelManager::new(&dataset).unwrap();
    let plans = Plans::read(folder.join("plans.json")).unwrap();
    let reader = ImageReader::new(
        &Parts::default().formats,
        Some(plans.image_reader_writer()),
        &dataset.file_ending,
        folder,
    )
    .unwrap();
    let file = |name: &Json| folder.join(name.as_str().unwrap());
    let runs = info.get("runs").and_then(Json::as_array).unwrap();
    for run in runs {
        let tag = run.get("tag").and_then(Json::as_str).unwrap();
        let with_seg = run.get("with_seg").and_then(Json::as_bool).unwrap();
        let case = Case {
            identifier: tag.to_owned(),
            images: info.get("images").and_then(Json::as_array).unwrap().iter().map(file).collect(),
            absent: Vec::new(),
            label: with_seg.then(|| file(info.get("seg").unwrap())),
        };
        let configuration = plans.configuration(run.get("config").and_then(Json::as_str).unwrap()).unwrap();
        let preprocessor = Preprocessor::new(&plans, &configuration, &Parts::default()).unwrap();
        let ours = preprocessor.run(read_case(&reader, &case, &Silent).unwrap(), Some(&labels)).unwrap();

        let name = format!("{}/{tag}", folder.file_name().unwrap().to_string_lossy());
        let data_path = folder.join(format!("{tag}_data.npy"));
        let found_shape: Vec<usize> =
            std::iter::once(ours.data.channels()).chain(ours.data.shape()).collect();
        let expected_shape = numbers(run.get("data_shape").unwrap());
        assert_eq!(found_shape.iter().map(|&v| v as f64).collect::<Vec<_>>(), expected_shape, "{name}");
        // Data with and without segmentation are the same; the reference's are stored once.
        let stored = if data_path.exists() {
            data_path
        } else {
            folder.join(format!("{}_data.npy", tag.replace("test", "train")))
        };
        let theirs = read_npy(&stored);
        let (largest, median) = differences(ours.data.data(), &theirs.f32());
        assert!(largest <= 1e-4 && median <= 1e-6, "{name}: {largest:e}, median {median:e}");

        check_properties(&ours, &folder.join(format!("{tag}_properties.json")));
        if with_seg {
            let theirs = read_npy(folder.join(format!("{tag}_seg.npy")));
            let segmentation = ours.segmentation.as_ref().unwrap();
            let differing =
                segmentation.data().iter().zip(&theirs.data).filter(|(a, b)| f64::from(**a) != **b).count();
            assert_eq!((segmentation.data().len(), differing), (theirs.data.len(), 0), "{name} segmentation");
            check_class_locations(&ours, &folder.join(format!("{tag}_class_locations.npz")));
        }
    }
    runs.len()
}

#[test]
fn phantom_cases_are_equal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/preprocess");
    assert_eq!(check_case(&root.join("Dataset811_regions")), 4);
    assert_eq!(check_case(&root.join("Dataset812_flat")), 2);
}

#[test]
fn public_cases_are_equal() {
    let Some(root) = shared_path("reference/preprocess_public") else { return };
    let mut runs = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("info.json").exists() {
            runs += check_case(&folder);
        }
    }
    assert_eq!(runs, 25);
}
