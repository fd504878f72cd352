//! Cases that cannot be used among good ones: the good ones are made, each bad one is named with its reason.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nnunet_assess::evaluate::Evaluator;
use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Event, Progress, Silent};
use nnunet_data::Parts;
use nnunet_data::fingerprint::extract;
use nnunet_data::normalization::{Normalization, NormalizationError, NormalizationInput};
use nnunet_data::plan::{PlannerOptions, Plans, plan_dataset};
use nnunet_data::preprocess::{DatasetFolders, PreprocessOptions, preprocess_dataset, stored_cases};
use nnunet_dataset::DatasetJson;
use nnunet_dataset::cases::{prediction_cases, training_cases};
use nnunet_dataset::{ImageReader, LabelOrRegion, image_formats};
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_image_io::nifti;
use nnunet_infer::predict::{Model, PredictRequest, Predictor, WindowOptions, predict_cases};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_recipe::recipes;
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};
use nnunet_testkit::warnings::Warnings;

const NAME: &str = "Dataset001_Balls";
/// A value that [`Buggy`] panics at.
const TRIGGER: f32 = 12_345.0;

/// A scheme with a bug.
#[derive(Debug)]
struct Buggy;

impl Normalization for Buggy {
    fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        assert!(!voxels.contains(&TRIGGER), "the bug of this test");
        Ok(())
    }
}

/// A scheme that divides by zero.
#[derive(Debug)]
struct Dividing;

impl Normalization for Dividing {
    fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        let first = voxels[0];
        voxels.iter_mut().for_each(|v| *v /= first - 1.0);
        Ok(())
    }
}

/// The built-in parts and these schemes.
fn own_parts() -> Parts {
    let mut parts = Parts::default();
    parts.normalizations.register("FragileNormalization", "has a bug", Arc::new(Buggy)).unwrap();
    parts.normalizations.register("DividingNormalization", "divides by zero", Arc::new(Dividing)).unwrap();
    parts
}

/// Reads an image, changes its voxels and writes it with 32-bit floats.
fn change(path: &Path, change: impl FnOnce(&mut [f32])) {
    let read = nifti::read(path).unwrap();
    let (shape, mut voxels) = (read.volume.shape(), read.volume.into_data());
    change(&mut voxels);
    NiftiFile::new(shape, [1.0; 3], Voxels::F32(voxels)).write(path);
}

/// Spoils five of the twenty images; what the report has to say of each.
fn spoil(images: &Path, name: impl Fn(u32) -> String) -> [(u32, [&'static str; 2]); 5] {
    let path = |case| images.join(name(case));
    // The first voxel of row 3 of slice 2, of rows as long as the image has them.
    change(&path(2), |voxels| voxels[0] = f32::NAN);
    change(&path(5), |voxels| voxels.fill(f32::INFINITY));
    let bytes = fs::read(path(11)).unwrap();
    fs::write(path(11), &bytes[..bytes.len() / 2]).unwrap();
    change(&path(12), |voxels| voxels[700] = TRIGGER);
    fs::write(path(19), "").unwrap();
    [
        (2, ["1 voxels are NaN", "the first is NaN at [0, 0, 0]"]),
        (5, ["voxels are NaN, infinite", "the first is infinity at [0, 0, 0]"]),
        (11, ["", ""]),
        (12, ["internal error: the bug of this test", "report it"]),
        (19, ["", ""]),
    ]
}

/// Every bad case has one line, which names its file or what panicked.
fn check_lines(message: &str, bad: &[(u32, [&str; 2])], case: impl Fn(u32) -> String) {
    for (number, words) in bad {
        let start = format!("case {}: ", case(*number));
        let lines: Vec<&str> = message.lines().filter(|line| line.starts_with(&start)).collect();
        let [line] = lines.as_slice() else { panic!("{start}: {message}") };
        assert!(*number == 12 || line.contains(&format!("{}_0000.nii.gz", case(*number))), "{line}");
        assert!(words.iter().all(|words| line.contains(words)), "{words:?} in {line}");
    }
}

fn with_own_schemes(plans: &Path, scheme: &str) {
    let text = fs::read_to_string(plans).unwrap();
    let text = text.replace("SimpleITKIO", "NibabelIO").replace("ZScoreNormalization", scheme);
    fs::write(plans, text).unwrap();
}

#[test]
fn of_twenty_cases_fifteen_are_preprocessed() {
    let root = tempfile::tempdir().unwrap();
    let phantom = PhantomDataset { cases: 20, shape: [10, 12, 11], ..Default::default() };
    let raw = phantom.write(root.path(), NAME);
    let preprocessed = root.path().join("pre").join(NAME);
    let dataset = DatasetJson::load(&raw.join("dataset.json")).unwrap();
    let cases = training_cases(&raw, &dataset).unwrap();
    let fingerprint = extract(&cases, &dataset, Ctx::new(&Silent, &Cancel::new())).unwrap();
    fingerprint.save(&preprocessed.join("dataset_fingerprint.json")).unwrap();
    plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default()).unwrap();
    let path = preprocessed.join("nnUNetPlans.json");
    let original = fs::read_to_string(&path).unwrap();
    with_own_schemes(&path, "FragileNormalization");

    let bad = spoil(&raw.join("imagesTr"), |case| format!("ball_{case:03}_0000.nii.gz"));
    let case = |number: u32| format!("ball_{number:03}");
    for workers in [1, 4] {
        let options = PreprocessOptions { workers: Some(workers), ..Default::default() };
        let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
        let plans = Plans::read(&path).unwrap();
        let result = preprocess_dataset(
            folders,
            &dataset,
            &plans,
            &["3d_fullres"],
            &options,
            &own_parts(),
            Ctx::new(&Silent, &Cancel::new()),
        );
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("5 of 20 cases could not be preprocessed"), "{message}");
        check_lines(&message, &bad, case);
        let stored = stored_cases(&preprocessed.join("nnUNetPlans_3d_fullres")).unwrap();
        let good = (0..20).filter(|number| bad.iter().all(|(bad, _)| bad != number)).map(case);
        assert_eq!(stored, good.collect::<Vec<_>>());
    }

    // What normalisation makes is looked at too.
    fs::write(&path, original).unwrap();
    with_own_schemes(&path, "DividingNormalization");
    change(&raw.join("imagesTr/ball_000_0000.nii.gz"), |voxels| voxels.fill(1.0));
    let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
    let (plans, options) = (Plans::read(&path).unwrap(), PreprocessOptions::default());
    let result = preprocess_dataset(
        folders,
        &dataset,
        &plans,
        &["3d_fullres"],
        &options,
        &own_parts(),
        Ctx::new(&Silent, &Cancel::new()),
    );
    let message = result.unwrap_err().to_string();
    for words in ["case ball_000: channel 0 after DividingNormalization: ", "infinity at [0, 0, 0]"] {
        assert!(message.contains(words), "{words:?} in {message}");
    }
}

#[test]
fn the_fingerprint_names_images_with_nan() {
    let root = tempfile::tempdir().unwrap();
    let raw = PhantomDataset { cases: 4, shape: [8, 9, 10], ..Default::default() }.write(root.path(), NAME);
    let json = fs::read_to_string(raw.join("dataset.json")).unwrap();
    let take = |json: &str| {
        fs::write(raw.join("dataset.json"), json).unwrap();
        let dataset = DatasetJson::load(&raw.join("dataset.json")).unwrap();
        extract(&training_cases(&raw, &dataset).unwrap(), &dataset, Ctx::new(&Silent, &Cancel::new()))
    };
    let path = raw.join("imagesTr/ball_002_0000.nii.gz");
    change(&path, |voxels| voxels[3..7].fill(f32::NAN));
    // ITK makes zeros of NaN in NIfTI files, and the reference goes on.
    assert!(take(&json).unwrap().foreground_intensities[0].mean.is_finite());
    let nibabel = json.replacen('{', "{\"overwrite_image_reader_writer\": \"NibabelIO\", ", 1);
    let message = take(&nibabel).unwrap_err().to_string();
    let path = path.display();
    for words in [
        "1 cases cannot be used",
        &format!("case ball_002: {path}: 4 voxels are NaN"),
        "the first is NaN at [0, 0, 3]",
        "No fingerprint was written",
    ] {
        assert!(message.contains(words), "{words:?} in {message}");
    }
}

/// Panics in the middle of the network's passes over one case.
struct Fragile {
    case: &'static str,
    at: Mutex<String>,
}

impl Progress for Fragile {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { stage, .. } => *self.at.lock().unwrap() = stage.to_owned(),
            Event::Advanced { .. } => {
                let stage = self.at.lock().unwrap().clone();
                assert!(!stage.contains(self.case), "the bug of this progress");
            }
            _ => {}
        }
    }
}

#[test]
fn of_twenty_cases_fifteen_are_predicted() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("model");
    fs::create_dir_all(model.join("fold_0")).unwrap();
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        fs::copy(ball_model().join(file), model.join(file)).unwrap();
    }
    with_own_schemes(&model.join("plans.json"), "FragileNormalization");
    let images = root.path().join("images");
    let phantom = PhantomDataset { shape: [10, 12, 11], ..Default::default() };
    let case = |number: u32| format!("new_{number:02}");
    for number in 0..20 {
        phantom.write_case(&images, &root.path().join("labels"), &case(number), number);
    }
    let load = || {
        let model = Model::load(&model, &[], "checkpoint_final.pth", &own_parts(), &recipes()).unwrap();
        let cpu = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
        Predictor::new(
            model.spec,
            model.weights,
            &cpu,
            WindowOptions { mirroring: false, ..Default::default() },
        )
        .unwrap()
    };
    let made = |folder: &Path| -> Vec<PathBuf> {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".nii.gz")).collect();
        files.sort();
        files
    };

    let good = root.path().join("good");
    let mut predictor = load();
    let dataset = predictor.spec().dataset.clone();
    let cases = prediction_cases(&images, &dataset).unwrap();
    let request = PredictRequest::new(&images, &good);
    predict_cases(&mut predictor, &cases, &request, Ctx::new(&Silent, &Cancel::new())).unwrap();

    let bad = spoil(&images, |number| format!("{}_0000.nii.gz", case(number)));
    let output = root.path().join("output");
    let request = PredictRequest { preprocessing_threads: 2, ..PredictRequest::new(&images, &output) };
    let result = predict_cases(&mut predictor, &cases, &request, Ctx::new(&Silent, &Cancel::new()));
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("5 of 20 cases failed"), "{message}");
    check_lines(&message, &bad, case);
    let files = made(&output);
    assert_eq!(files.len(), 15);
    let equal_to_good = |files: &[PathBuf]| {
        for file in files {
            let expected = nifti::read(good.join(file.file_name().unwrap())).unwrap().volume;
            assert_eq!(nifti::read(file).unwrap().volume, expected, "{}", file.display());
        }
    };
    equal_to_good(&files);

    // A panic in the network costs its case, and the next ones are as before.
    let output = root.path().join("again");
    let fragile = Fragile { case: "new_03", at: Mutex::default() };
    for save_probabilities in [false, true] {
        let request = PredictRequest { save_probabilities, ..PredictRequest::new(&images, &output) };
        let cases = &cases[3..5];
        let message =
            predict_cases(&mut predictor, cases, &request, Ctx::new(&fragile, &Cancel::new())).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("case new_03: internal error: the bug of this progress"), "{message}");
        let files = made(&output);
        assert_eq!(files.len(), 1);
        equal_to_good(&files);
    }
}

#[test]
fn a_panic_in_the_evaluation_of_a_case_names_it() {
    let root = tempfile::tempdir().unwrap();
    let pairs: Vec<(PathBuf, PathBuf)> = ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
        .map(|name| {
            let path = root.path().join(name);
            let first = u8::from(name.starts_with('b'));
            NiftiFile::new([1, 1, 2], [1.0; 3], Voxels::U8(vec![first, 1])).write(&path);
            (path.clone(), path)
        })
        .to_vec();
    let reader = ImageReader::new(&image_formats(), Some("SimpleITKIO"), ".nii.gz", root.path()).unwrap();
    let evaluator = Evaluator::new(reader, vec![LabelOrRegion::Label(1)]);
    let change = |labels: &mut nnunet_volume::Volume<f32>| assert!(labels.data()[0] == 0.0, "first voxel");
    let result = evaluator.evaluate_changed(&pairs, &change, Ctx::new(&Silent, &Cancel::new()));
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("1 cases cannot be evaluated"), "{message}");
    let line = format!("{}: internal error: first voxel", pairs[1].1.display());
    assert!(message.contains(&line), "{message}");
}

#[test]
fn channels_that_lie_elsewhere_are_one_warning() {
    let root = tempfile::tempdir().unwrap();
    let phantom = PhantomDataset { cases: 1, channels: 3, shape: [8, 9, 10], ..Default::default() };
    let raw = phantom.write(root.path(), NAME);
    for channel in 1..3 {
        let path = raw.join(format!("imagesTr/ball_000_000{channel}.nii.gz"));
        let read = nifti::read(&path).unwrap();
        let voxels = Voxels::F32(read.volume.data().to_vec());
        let mut file = NiftiFile::new(read.volume.shape(), [1.0; 3], voxels);
        file.sform[0][3] = 25.0;
        // Along the other direction.
        file.sform[1][1] = -1.0;
        file.write(&path);
    }
    let json = raw.join("dataset.json");
    let text = fs::read_to_string(&json).unwrap();
    for (reader, how) in [("SimpleITKIO", "origin [-25.0, "), ("NibabelIO", "affine [[1.0, ")] {
        let own = format!("{{\"overwrite_image_reader_writer\": \"{reader}\", ");
        Json::parse(&text.replacen('{', &own, 1)).unwrap().save(&json, KeyOrder::Kept).unwrap();
        let dataset = DatasetJson::load(&json).unwrap();
        let warnings = Warnings::default();
        extract(&training_cases(&raw, &dataset).unwrap(), &dataset, Ctx::new(&warnings, &Cancel::new()))
            .unwrap();
        let said = warnings.said();
        let [line] = said.as_slice() else { panic!("{said:?}") };
        for words in ["ball_000_0001.nii.gz: ", how, "that of ", "ball_000_0000.nii.gz (1 more channels"] {
            assert!(line.contains(words), "{words:?} in {line}");
        }
    }
}
