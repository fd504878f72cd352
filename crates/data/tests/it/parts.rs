//! Parts from outside: registered once, used by every stage.
// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_data::fingerprint::{ExtractOptions, extract_part};
use nnunet_data::normalization::{Normalization, NormalizationError, NormalizationInput};
use nnunet_data::plan::{PlannerOptions, plan_dataset};
use nnunet_data::preprocess::{DatasetFolders, PreprocessOptions, StoredCase, preprocess_dataset};
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::verify::verify;
use nnunet_dataset::{DatasetJson, ImageFormat, ImageGeometry, LabelManager, ReadChannels, ReadImage};
use nnunet_image_io::{StoredLabels, VoxelType};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_volume::resample::{Interpolation, Method};
use nnunet_volume::{SpacingMm, Volume, VolumeError};

const NAME: &str = "Dataset901_Own";
const SHAPE: [usize; 3] = [8, 10, 12];

/// Bytes in the order (z, y, x) of volumes of [`SHAPE`], with nothing before them; spacing 1.
#[derive(Debug)]
struct Bytes;

impl ImageFormat for Bytes {
    fn endings(&self) -> &[&str] {
        &[".bytes"]
    }

    fn knows_place(&self) -> bool {
        false
    }

    fn read_header(&self, _: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        Ok((1, SHAPE, SpacingMm::UNIT))
    }

    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        self.read(path).map(Into::into)
    }

    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        let voxels = std::fs::read(path).unwrap().into_iter().map(f32::from).collect();
        Ok(ReadImage {
            volume: Volume::new(SHAPE, voxels).unwrap(),
            geometry: ImageGeometry::Spacing(SpacingMm::UNIT),
            stored_type: VoxelType::U8,
            warnings: Vec::new(),
        })
    }

    fn write_labels(&self, path: &Path, labels: &StoredLabels, _: &ImageGeometry) -> Result<(), VolumeError> {
        let StoredLabels::U8(labels) = labels else { panic!("small labels") };
        std::fs::write(path, labels.data()).unwrap();
        Ok(())
    }
}

/// Thousandths, for channels called `milli`.
#[derive(Debug)]
struct Thousandths;

impl Normalization for Thousandths {
    fn channel_names(&self) -> &[&str] {
        &["milli"]
    }

    fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        voxels.iter_mut().for_each(|v| *v /= 1000.0);
        Ok(())
    }
}

fn own_parts() -> Parts {
    let mut parts = Parts::default();
    parts.formats.register("BytesIO", "bytes", Arc::new(Bytes)).unwrap();
    parts.normalizations.register("ThousandthsNormalization", "thousandths", Arc::new(Thousandths)).unwrap();
    let nearest = |_: &mut nnunet_base::parts::Options<'_>| {
        Ok(Some(Method::new(Interpolation::Nearest, Interpolation::Nearest)))
    };
    parts.resampling.register("resample_nearest", "nearest", Arc::new(nearest)).unwrap();
    let without_rim = |dataset: &DatasetJson| {
        let mut dataset = dataset.clone();
        dataset.labels.shift_remove("rim");
        LabelManager::new(&dataset)
    };
    parts.label_managers.register("WithoutRim", "the rim is not learnt", Arc::new(without_rim)).unwrap();
    parts
}

fn write_dataset(raw: &Path) {
    for (folder, names) in [("imagesTr", ["a_0000", "b_0000"]), ("labelsTr", ["a", "b"])] {
        std::fs::create_dir_all(raw.join(folder)).unwrap();
        for (offset, name) in names.into_iter().enumerate() {
            let voxels: Vec<u8> = (0..SHAPE.iter().product::<usize>())
                .map(|i| if folder == "imagesTr" { (i % 200 + offset + 1) as u8 } else { (i % 3) as u8 })
                .collect();
            std::fs::write(raw.join(folder).join(format!("{name}.bytes")), voxels).unwrap();
        }
    }
    let json = r#"{"channel_names": {"0": "Milli"}, "labels": {"background": 0, "core": 1, "rim": 2},
                   "numTraining": 2, "file_ending": ".bytes"}"#;
    std::fs::write(raw.join("dataset.json"), json).unwrap();
}

#[test]
fn parts_from_outside_serve_every_stage() {
    let root = tempfile::tempdir().unwrap();
    let (raw, preprocessed) = (root.path().join(NAME), root.path().join("preprocessed"));
    write_dataset(&raw);
    let parts = own_parts();
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);

    let report = verify(&raw, |_| None, &parts.formats, ctx);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let report = verify(&raw, |_| None, &Parts::default().formats, ctx);
    assert!(!report.faults.is_empty(), "nobody reads .bytes without the format");

    let dataset = DatasetJson::load(&raw.join("dataset.json")).unwrap();
    let cases = training_cases(&raw, &dataset).unwrap();
    let extract = ExtractOptions { formats: parts.formats.clone(), ..ExtractOptions::default() };
    extract_part(&preprocessed, &cases, &dataset, &extract, false, ctx).unwrap();

    let plans = plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &parts).unwrap();
    assert_eq!(plans.image_reader_writer(), "BytesIO");
    let mut document = plans.document().clone();
    document.insert("label_manager".to_owned(), "WithoutRim".into());
    let path = preprocessed.join("nnUNetPlans.json");
    let text = Json::Object(document)
        .to_python(KeyOrder::Kept)
        .replace("\"resample_data_or_seg_to_shape\"", "\"resample_nearest\"");
    // The options are those of splines.
    let without_options = |text: &str| {
        let mut json = Json::parse(text).unwrap();
        let Json::Object(entries) = &mut json else { panic!() };
        let Some(Json::Object(all)) = entries.get_mut("configurations") else { panic!() };
        for configuration in all.values_mut() {
            let Json::Object(configuration) = configuration else { panic!() };
            configuration.retain(|key, _| !key.ends_with("_kwargs"));
        }
        json
    };
    without_options(&text).save(&path, KeyOrder::Kept).unwrap();
    let plans = nnunet_data::plan::Plans::read(&path).unwrap();
    let configuration = plans.configuration("3d_fullres").unwrap();
    assert_eq!(configuration.normalization_schemes, ["ThousandthsNormalization"]);
    assert_eq!(configuration.use_mask_for_norm, [false]);
    assert_eq!(plans.label_manager(&dataset, &parts).unwrap().all_labels(), [0, 1]);

    let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
    let run = |parts: Parts| {
        let options = PreprocessOptions::default();
        preprocess_dataset(folders, &dataset, &plans, &["3d_fullres"], &options, &parts, ctx)
    };
    let unknown = run(Parts::default()).unwrap_err().to_string();
    assert!(unknown.contains("label_manager: found WithoutRim, expected one that is known"), "{unknown}");
    run(parts).unwrap();
    let stored = StoredCase::open(&preprocessed.join(&configuration.data_identifier), "a").unwrap();
    let data = stored.read_data([0; 3], stored.shape()).unwrap();
    let raw_voxels = std::fs::read(raw.join("imagesTr/a_0000.bytes")).unwrap();
    assert_eq!(data.data().len(), raw_voxels.len());
    let expected: Vec<f32> = raw_voxels.iter().map(|&v| f32::from(v) / 1000.0).collect();
    let sorted = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        values
    };
    // Axes may have been transposed.
    assert_eq!(sorted(data.data().to_vec()), sorted(expected));
}
