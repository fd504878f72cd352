//! The way back: logits on the network's grid to segmentations and probabilities on the original one,
//! against the reference's.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use half::f16;
use nnunet_data::Parts;
use nnunet_data::plan::Plans;
use nnunet_data::preprocess::{Preprocessor, Properties, RawCase};
use nnunet_dataset::DatasetJson;
use nnunet_dataset::ImageReader;
use nnunet_infer::model::ModelSpec;
use nnunet_infer::predict::Exporter;
use nnunet_testkit::npy::{read_npy, read_npz};
use nnunet_testkit::shared::shared_path;
use nnunet_volume::ChannelVolume;

/// A resampled logit of up to 16 may be rounded to the neighbouring f16.
const TOLERANCE: f64 = 4e-3;

fn check(case: &str, configurations: &[&str]) {
    let Some(root) = shared_path(&format!("reference/preprocess_public/{case}")) else { return };
    let dataset = DatasetJson::load(&root.join("dataset.json")).unwrap();
    let plans = Plans::read(root.join("plans.json")).unwrap();
    let reader = ImageReader::for_dataset(&Parts::default().formats, &dataset).unwrap();
    for name in configurations {
        let configuration = plans.configuration(name).unwrap();
        let mut paths: Vec<_> = std::fs::read_dir(&root)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| {
                let file = p.file_name().unwrap().to_string_lossy().into_owned();
                file.starts_with(&format!("{case}_0")) && file.ends_with(&dataset.file_ending)
            })
            .collect();
        paths.sort();
        let images = reader.read_images(case, &paths).unwrap();
        let raw = RawCase {
            identifier: case.to_owned(),
            images: images.data,
            geometry: images.geometry,
            segmentation: None,
            absent: Vec::new(),
        };
        let properties: Properties = Preprocessor::new(&plans, &configuration, &Parts::default())
            .unwrap()
            .run(raw, None)
            .unwrap()
            .properties;
        let logits = read_npy(root.join(format!("{name}_export_logits_f16.npy")));
        let [c, z, y, x] = logits.shape[..] else { panic!("{:?}", logits.shape) };
        let logits = logits.data.iter().map(|v| f16::from_f64(*v)).collect();
        let logits = ChannelVolume::new(c, [z, y, x], logits).unwrap();
        let spec = ModelSpec::new(
            plans.clone(),
            configuration,
            dataset.clone(),
            String::new(),
            Vec::new(),
            Parts::default(),
        );
        let spec = spec.unwrap();
        let exporter = Exporter::new(&spec);
        let (segmentation, probabilities) =
            exporter.segmentation_and_probabilities(&logits, &properties).unwrap();
        let plain = exporter.segmentation(&logits, &properties).unwrap();
        let expected = read_npy(root.join(format!("{name}_export_seg.npy")));
        assert_eq!(expected.shape, segmentation.shape(), "{case} {name}");
        for found in [&segmentation, &plain] {
            let different =
                found.data().iter().zip(&expected.data).filter(|(a, b)| f64::from(**a) != **b).count();
            assert_eq!(different, 0, "{case} {name}: labels that differ");
        }
        let expected = &read_npz(root.join(format!("{name}_export_probabilities.npz")))["probabilities"];
        assert_eq!(expected.shape[1..], probabilities.shape(), "{case} {name}");
        for (a, b) in probabilities.data().iter().zip(&expected.data) {
            assert!((f64::from(*a) - b).abs() <= TOLERANCE, "{case} {name}: {a} instead of {b}");
        }
    }
}

#[test]
fn anisotropic_ct() {
    check("ct_aniso_1", &["3d_fullres", "2d"]);
}

#[test]
fn transposed_axes() {
    check("oriented_5", &["3d_fullres", "2d"]);
}

#[test]
fn oblique_direction() {
    check("oblique_8", &["3d_fullres"]);
}

#[test]
fn cropped_regions() {
    check("mri_nonzero_regions_3", &["3d_fullres"]);
}

#[test]
fn several_normalisations() {
    check("multinorm_9", &["3d_fullres"]);
}

#[test]
fn without_resampling() {
    check("hippocampus_001", &["3d_fullres", "2d"]);
    check("hippocampus_003", &["3d_fullres"]);
    check("real_ct_crop", &["3d_fullres"]);
}
