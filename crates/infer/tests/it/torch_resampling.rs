//! Plans that name PyTorch's resampling, or none: preprocessing (data within 1e-4, segmentations equal) and the way back
//! of predictions (labels equal, probabilities within 1e-5) against the reference's.
// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use half::f16;
use nnunet_base::progress::Silent;
use nnunet_data::Parts;
use nnunet_data::plan::{Document, Plans};
use nnunet_data::preprocess::{Preprocessor, read_case};
use nnunet_dataset::{Case, DatasetJson};
use nnunet_infer::model::ModelSpec;
use nnunet_infer::predict::Exporter;
use nnunet_pyformats::json::Json;
use nnunet_testkit::npy::{Array, read_npy};
use nnunet_volume::ChannelVolume;

fn golden(topic: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(topic)
}

fn largest_difference(ours: &[f32], theirs: &Array) -> f64 {
    assert_eq!(ours.len(), theirs.data.len());
    ours.iter().zip(&theirs.data).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

fn check(name: &str, phantom: &str, configuration: &str) {
    let load = |what: &str| read_npy(golden("torch_resampling").join(format!("{name}_{what}.npy")));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tests/golden/preprocess").join(phantom);
    let dataset = DatasetJson::load(&folder.join("dataset.json")).unwrap();
    let plans = Plans::read(golden("torch_resampling").join(format!("{name}_plans.json"))).unwrap();
    let configuration = plans.configuration(configuration).unwrap();
    let spec =
        ModelSpec::new(plans, configuration, dataset, String::new(), Vec::new(), Parts::default()).unwrap();
    let reader = spec.image_reader().unwrap();
    let case = Case {
        identifier: name.to_owned(),
        images: (0..spec.dataset.channel_names.len())
            .map(|c| folder.join(format!("case_{c:04}.nii.gz")))
            .collect(),
        absent: Vec::new(),
        label: Some(folder.join("case.nii.gz")),
    };
    let raw = read_case(&reader, &case, &Silent).unwrap();
    let ours = Preprocessor::new(&spec.plans, &spec.configuration, &spec.parts).unwrap();
    let ours = ours.run(raw, Some(&spec.labels)).unwrap();
    let data = load("data");
    assert_eq!(data.shape[1..], ours.data.shape(), "{name}");
    let worst = largest_difference(ours.data.data(), &data);
    assert!(worst <= 1e-4, "{name}: data differ by {worst:e}");
    let segmentation = ours.segmentation.unwrap();
    let expected = load("seg");
    let differing = segmentation.data().iter().zip(&expected.data).filter(|(a, b)| f64::from(**a) != **b);
    assert_eq!(differing.count(), 0, "{name}: segmentation");

    let logits = load("logits");
    let [c, z, y, x] = logits.shape[..] else { panic!("{:?}", logits.shape) };
    let logits = logits.data.iter().map(|v| f16::from_f64(*v)).collect();
    let logits = ChannelVolume::new(c, [z, y, x], logits).unwrap();
    let exporter = Exporter::new(&spec);
    let (found, probabilities) = exporter.segmentation_and_probabilities(&logits, &ours.properties).unwrap();
    let expected = load("export_seg");
    assert_eq!(expected.shape, found.shape(), "{name}");
    for found in [found, exporter.segmentation(&logits, &ours.properties).unwrap()] {
        let differing = found.data().iter().zip(&expected.data).filter(|(a, b)| f64::from(**a) != **b);
        assert_eq!(differing.count(), 0, "{name}: predicted labels");
    }
    let worst = largest_difference(probabilities.data(), &load("export_probabilities"));
    assert!(worst <= 1e-5, "{name}: probabilities differ by {worst:e}");
}

#[test]
fn a_coarse_axis_on_its_own() {
    check("separate", "Dataset811_regions", "3d_fullres");
}

#[test]
fn all_axes_together() {
    check("together", "Dataset811_regions", "3d_fullres");
}

#[test]
fn two_dimensional_images() {
    check("flat", "Dataset812_flat", "2d");
}

#[test]
fn no_resampling() {
    check("unchanged", "Dataset811_regions", "3d_fullres");
}

/// The golden plans with `function` for probabilities.
fn with_probabilities(function: &str) -> Plans {
    let mut document: Document =
        Plans::read(golden("torch_resampling").join("together_plans.json")).unwrap().document().clone();
    let Some(Json::Object(all)) = document.get_mut("configurations") else { panic!() };
    let Some(Json::Object(entries)) = all.get_mut("3d_fullres") else { panic!() };
    entries.insert("resampling_fn_probabilities".to_owned(), function.into());
    entries.insert("resampling_fn_probabilities_kwargs".to_owned(), Json::object::<&str>([]));
    Plans::from_json(Json::Object(document), "plans.json").unwrap()
}

#[test]
fn functions_that_are_not_known_are_named_beforehand() {
    let plans = with_probabilities("resample_my_way");
    let configuration = plans.configuration("3d_fullres").unwrap();
    let error = Preprocessor::new(&plans, &configuration, &Parts::default()).unwrap_err().to_string();
    assert!(error.contains("`resampling_fn_probabilities` is \"resample_my_way\"; known: "), "{error}");
}
