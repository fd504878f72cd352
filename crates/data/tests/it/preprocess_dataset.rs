//! Preprocessing datasets on disk: a phantom dataset with its faults, and (long) the whole of
//! Dataset004_Hippocampus.
//!
//! The long test needs the folder of references; it leaves its files in `NNUNET_PREPROCESS_OUTPUT`
//! if that is set. `crates/cli/tests/python/preprocessed.py` compares such files with those of the reference.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Event, Progress, Silent};
use nnunet_data::Parts;
use nnunet_data::fingerprint::extract;
use nnunet_data::plan::{PlannerOptions, Plans, plan_dataset};
use nnunet_data::preprocess::{
    DatasetFolders, Existing, PreprocessError, PreprocessOptions, Preprocessed, Properties, StoredCase,
    check_made_from, preprocess_dataset, stored_cases,
};
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::{DatasetJson, LabelOrRegion, Part};
use nnunet_image_io::nifti;
use nnunet_testkit::shared::shared_path;
use nnunet_testkit::warnings::Warnings;
use nnunet_volume::{Geometry, Volume};
use tempfile::TempDir;

/// A dataset of `cases` ellipsoids with one channel, spacing 1.5 x 1 x 1 mm (z, y, x).
struct Phantom {
    _folder: TempDir,
    raw: PathBuf,
    preprocessed: PathBuf,
}

impl Phantom {
    fn new(cases: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw/Dataset900_Phantom");
        let preprocessed = folder.path().join("preprocessed/Dataset900_Phantom");
        for part in ["imagesTr", "labelsTr"] {
            std::fs::create_dir_all(raw.join(part)).unwrap();
        }
        std::fs::create_dir_all(&preprocessed).unwrap();
        let json = format!(
            r#"{{"channel_names": {{"0": "MRI"}}, "labels": {{"background": 0, "body": 1, "core": 2}},
                "numTraining": {cases}, "file_ending": ".nii.gz"}}"#
        );
        std::fs::write(raw.join("dataset.json"), json).unwrap();
        let phantom = Self { _folder: folder, raw, preprocessed };
        for case in 0..cases {
            phantom.write_case(case);
        }
        let dataset = phantom.dataset();
        let cases = training_cases(&phantom.raw, &dataset).unwrap();
        let fingerprint = extract(&cases, &dataset, Ctx::new(&Silent, &Cancel::new())).unwrap();
        fingerprint.save(&phantom.preprocessed.join("dataset_fingerprint.json")).unwrap();
        plan_dataset(
            "Dataset900_Phantom",
            &phantom.raw,
            &phantom.preprocessed,
            &PlannerOptions::default(),
            &Parts::default(),
        )
        .unwrap();
        phantom
    }

    fn write_case(&self, case: usize) {
        let shape = [14 + case, 24, 22];
        let mut image = Volume::filled(shape, 0f32);
        let mut labels = Volume::filled(shape, 0u8);
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let centred =
                        [z, y, x].into_iter().zip(shape).map(|(v, n)| 2.0 * v as f32 / n as f32 - 1.0);
                    let radius: f32 = centred.map(|v| v * v).sum();
                    let index = image.index(z, y, x);
                    if radius < 0.8 {
                        image.data_mut()[index] = 100.0 + 50.0 * radius + (index % 7) as f32;
                        labels.data_mut()[index] = if radius < 0.2 { 2 } else { u8::from(radius < 0.6) };
                    }
                }
            }
        }
        // One case is finer than the others, so that something is resampled.
        let spacing = if case == 0 { [0.9, 0.9, 1.5] } else { [1.0, 1.0, 1.5] };
        let geometry = Geometry::with_spacing(spacing);
        nifti::write(self.image(case), &image, &geometry).unwrap();
        nifti::write(self.label(case), &labels, &geometry).unwrap();
    }

    fn image(&self, case: usize) -> PathBuf {
        self.raw.join(format!("imagesTr/case_{case}_0000.nii.gz"))
    }

    fn label(&self, case: usize) -> PathBuf {
        self.raw.join(format!("labelsTr/case_{case}.nii.gz"))
    }

    fn dataset(&self) -> DatasetJson {
        DatasetJson::load(&self.raw.join("dataset.json")).unwrap()
    }

    fn folders(&self) -> DatasetFolders<'_> {
        DatasetFolders { raw: &self.raw, preprocessed: &self.preprocessed }
    }

    fn plans(&self) -> Plans {
        Plans::read(self.preprocessed.join("nnUNetPlans.json")).unwrap()
    }

    fn preprocess(
        &self,
        options: &PreprocessOptions,
        ctx: Ctx<'_>,
    ) -> Result<Vec<(String, Preprocessed)>, PreprocessError> {
        let (dataset, plans) = (self.dataset(), self.plans());
        preprocess_dataset(self.folders(), &dataset, &plans, &["3d_fullres"], options, &Parts::default(), ctx)
    }

    fn folder(&self) -> PathBuf {
        self.preprocessed.join("nnUNetPlans_3d_fullres")
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}

fn made(result: &[(String, Preprocessed)]) -> (usize, usize) {
    (result[0].1.made, result[0].1.kept)
}

#[test]
fn cases_are_stored_and_read_back() {
    let phantom = Phantom::new(3);
    let result =
        phantom.preprocess(&PreprocessOptions::default(), Ctx::new(&Silent, &Cancel::new())).unwrap();
    assert_eq!(made(&result), (3, 0));
    assert_eq!(stored_cases(&phantom.folder()).unwrap(), ["case_0", "case_1", "case_2"]);
    assert!(phantom.preprocessed.join("gt_segmentations/case_2.nii.gz").exists());

    let stored = StoredCase::open(&phantom.folder(), "case_0").unwrap();
    let properties = stored.properties().unwrap();
    assert_eq!(properties.shape_before_cropping, [14, 24, 22]);
    assert!(properties.bbox_used_for_cropping.lower[1] > 0, "the phantom has a margin");
    let shape = stored.shape();
    assert_ne!(shape, properties.shape_after_cropping_and_before_resampling, "this case is resampled");
    let all = stored.read_segmentation([0; 3], shape).unwrap();
    assert_eq!(all.data()[0], -1, "outside the body");
    for (class, voxels) in properties.class_locations.as_ref().unwrap().iter() {
        assert!(!voxels.is_empty());
        for &[z, y, x] in voxels {
            let label = all.data()[all.index(z as usize, y as usize, x as usize)];
            assert_eq!(*class, LabelOrRegion::Label(label.into()));
        }
    }
    let (start, part) = ([2, 3, 4], [5, 6, 7]);
    let patch = stored.read_data(start, part).unwrap();
    let whole = stored.read_data([0; 3], shape).unwrap();
    let mean = whole.data().iter().map(|&v| f64::from(v)).sum::<f64>() / whole.data().len() as f64;
    assert!(mean.abs() < 0.1, "normalised: {mean}");
    for z in 0..5 {
        for y in 0..6 {
            for x in 0..7 {
                let there = ((z + 2) * shape[1] + y + 3) * shape[2] + x + 4;
                assert_eq!(patch.data()[(z * 6 + y) * 7 + x], whole.data()[there]);
            }
        }
    }
    assert!(stored.read_data([0; 3], [shape[0] + 1, 1, 1]).is_err());
}

#[test]
fn results_do_not_depend_on_the_number_of_workers() {
    let phantom = Phantom::new(5);
    let run = |workers| {
        let options = PreprocessOptions { workers: Some(workers), ..Default::default() };
        phantom.preprocess(&options, Ctx::new(&Silent, &Cancel::new())).unwrap();
        phantom.files()
    };
    let alone = run(1);
    assert_eq!(alone.len(), 15);
    assert!(alone == run(4), "files differ");
    // Room for one case, then for none.
    let (options, cancel) = (PreprocessOptions::default(), Cancel::new());
    let within = |bytes| Ctx::new(&Silent, &cancel).within(Some(bytes));
    phantom.preprocess(&options, within(300_000)).unwrap();
    assert!(alone == phantom.files(), "files differ");
    let error = phantom.preprocess(&options, within(100_000)).unwrap_err().to_string();
    assert!(error.contains("limit of 100 kB: case_0 needs "), "{error}");
    assert!(alone == phantom.files(), "a run that is refused changes nothing");
}

#[test]
fn parts_make_the_whole_between_them() {
    let phantom = Phantom::new(5);
    phantom.preprocess(&PreprocessOptions::default(), Ctx::new(&Silent, &Cancel::new())).unwrap();
    let whole = phantom.files();
    for existing in [Existing::Replace, Existing::Keep] {
        std::fs::remove_dir_all(phantom.folder()).unwrap();
        for number in [2, 0, 1] {
            let part = Part::new(number, 3).unwrap();
            let options = PreprocessOptions { part, existing, ..Default::default() };
            let result = phantom.preprocess(&options, Ctx::new(&Silent, &Cancel::new())).unwrap();
            assert_eq!(made(&result), (if number == 2 { 1 } else { 2 }, 0));
        }
        assert!(whole == phantom.files(), "files differ");
    }
}

#[test]
fn finished_cases_are_kept_on_request() {
    let phantom = Phantom::new(3);
    let keep = PreprocessOptions { existing: Existing::Keep, ..Default::default() };
    let run = || made(&phantom.preprocess(&keep, Ctx::new(&Silent, &Cancel::new())).unwrap());
    assert_eq!(run(), (3, 0));
    assert_eq!(run(), (0, 3));
    // A case that was interrupted has no properties yet.
    std::fs::remove_file(phantom.folder().join("case_1.pkl")).unwrap();
    assert_eq!(run(), (1, 2));
    // A damaged case.
    let data = phantom.folder().join("case_2.b2nd");
    let bytes = std::fs::read(&data).unwrap();
    std::fs::write(&data, &bytes[..20]).unwrap();
    assert_eq!(run(), (1, 2));
    // A case whose image changed.
    std::thread::sleep(std::time::Duration::from_millis(20));
    phantom.write_case(0);
    assert_eq!(run(), (1, 2));
    // The same plans made again; other plans of the same name.
    let plan = |options: &PlannerOptions| {
        plan_dataset("Dataset900_Phantom", &phantom.raw, &phantom.preprocessed, options, &Parts::default())
            .unwrap();
    };
    plan(&PlannerOptions::default());
    assert_eq!(run(), (0, 3));
    plan(&PlannerOptions { overwrite_target_spacing: Some([2.0; 3]), ..Default::default() });
    assert_eq!(run(), (3, 0));
    // A case that somebody else made, one that is in the dataset no more, and what a killed run left.
    std::fs::remove_file(phantom.folder().join("made_from/case_1.json")).unwrap();
    for name in ["gone.b2nd", "gone_seg.b2nd", "gone.pkl", ".case_2.b2nd.12-0.tmp", "case_0.npz"] {
        std::fs::write(phantom.folder().join(name), "").unwrap();
    }
    assert_eq!(run(), (1, 2));
    assert_eq!(phantom.files().len(), 9);
}

#[test]
fn cases_made_with_other_plans_are_told() {
    let phantom = Phantom::new(2);
    phantom.preprocess(&PreprocessOptions::default(), Ctx::new(&Silent, &Cancel::new())).unwrap();
    let cases = stored_cases(&phantom.folder()).unwrap();
    let dataset = DatasetJson::load(&phantom.raw.join("dataset.json")).unwrap();
    let check = |plans: &Plans| {
        let configuration = plans.configuration("3d_fullres").unwrap();
        check_made_from(&phantom.folder(), &cases, plans, &configuration, &dataset, &Parts::default())
    };
    check(&phantom.plans()).unwrap();
    let options = PlannerOptions { overwrite_target_spacing: Some([2.0; 3]), ..Default::default() };
    plan_dataset("Dataset900_Phantom", &phantom.raw, &phantom.preprocessed, &options, &Parts::default())
        .unwrap();
    let error = check(&phantom.plans()).unwrap_err().to_string();
    assert!(error.contains("case case_0 was preprocessed with other plans"), "{error}");
    assert!(error.contains("different: spacing"), "{error}");
    // Cases of another program have no records.
    std::fs::remove_dir_all(phantom.folder().join("made_from")).unwrap();
    check(&phantom.plans()).unwrap();
}

/// Cancels after the first finished case, and records what it is told.
struct Watcher {
    cancel: Cancel,
    lines: Mutex<Vec<String>>,
}

impl Progress for Watcher {
    fn event(&self, event: Event<'_>) {
        let mut lines = self.lines.lock().unwrap();
        match event {
            Event::Advanced { .. } => self.cancel.cancel(),
            Event::Started { stage, total } => lines.push(format!("{stage} {total}")),
            Event::Message(text) => lines.push(text.to_owned()),
            _ => {}
        }
    }
}

#[test]
fn an_interrupted_run_can_be_continued() {
    let phantom = Phantom::new(4);
    let watcher = Watcher { cancel: Cancel::new(), lines: Mutex::default() };
    let options =
        PreprocessOptions { existing: Existing::Keep, workers: Some(1), ..PreprocessOptions::default() };
    let error = phantom.preprocess(&options, Ctx::new(&watcher, &watcher.cancel)).unwrap_err();
    assert!(matches!(error, PreprocessError::Interrupted { done: 1, total: 4, .. }), "{error}");
    let lines = watcher.lines.lock().unwrap();
    assert!(lines[0].starts_with("memory: at most about ") && lines[0].contains("for 1 cases at once"));
    assert_eq!(lines[1..], ["preprocess 3d_fullres 4"]);
    let result = phantom.preprocess(&options, Ctx::new(&Silent, &Cancel::new())).unwrap();
    assert_eq!(made(&result), (3, 1));
}

#[test]
fn all_faulty_cases_are_reported_and_the_others_made() {
    let phantom = Phantom::new(4);
    let geometry = Geometry::with_spacing([1.0, 1.0, 1.5]);
    nifti::write(phantom.label(1), &Volume::filled([15, 24, 22], 0.5f32), &geometry).unwrap();
    nifti::write(phantom.label(2), &Volume::filled([3, 24, 22], 1u8), &geometry).unwrap();
    std::fs::write(phantom.image(3), b"no image").unwrap();
    let error =
        phantom.preprocess(&PreprocessOptions::default(), Ctx::new(&Silent, &Cancel::new())).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("3 of 4 cases"), "{text}");
    for part in ["has value 0.5", "shape [3, 24, 22]", "case_3_0000.nii.gz", "case_1.nii.gz"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert_eq!(stored_cases(&phantom.folder()).unwrap(), ["case_0"]);
}

#[test]
fn a_configuration_that_is_not_planned_is_skipped_with_a_message() {
    let phantom = Phantom::new(1);
    let watcher = Watcher { cancel: Cancel::new(), lines: Mutex::default() };
    let run = |configurations: &[&str]| {
        preprocess_dataset(
            phantom.folders(),
            &phantom.dataset(),
            &phantom.plans(),
            configurations,
            &PreprocessOptions::default(),
            &Parts::default(),
            Ctx::new(&watcher, &Cancel::new()),
        )
    };
    let made = run(&["3d_fullres", "3d_lowres", "of_other_plans"]).unwrap();
    assert_eq!(made.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["3d_fullres"]);
    let lines = watcher.lines.lock().unwrap().clone();
    assert!(lines[0].contains("3d_lowres is not in nnUNetPlans") && lines[1].contains("of_other_plans"));

    // What is misspelt, and nothing at all, is more than a message.
    std::fs::remove_dir_all(phantom.folder()).unwrap();
    let misspelt =
        [("3d-fullres", "3d_fullres"), ("3d_fulres", "3d_fullres"), ("2D", "2d"), ("3d-lowres", "3d_lowres")];
    for (asked, meant) in misspelt {
        let error = run(&["3d_lowres", "2d", "3d_fullres", asked]).unwrap_err().to_string();
        assert!(error.contains(asked) && error.contains(&format!("did you mean `{meant}`?")), "{error}");
    }
    let error = run(&["3d_lowres", "3d_cascade_fullres"]).unwrap_err().to_string();
    assert!(error.contains("`3d_lowres` is not in the plans") && error.contains("2d, 3d_fullres"), "{error}");
    assert!(!phantom.folder().exists(), "nothing was begun");
}

#[test]
fn cases_of_the_reference_are_read() {
    let Some(folder) = shared_path("reference/b2nd_sample") else { return };
    for case in stored_cases(&folder).unwrap() {
        let stored = StoredCase::open(&folder, &case).unwrap();
        let shape = stored.shape();
        let expected =
            |name: &str| nnunet_testkit::npy::read_npy(folder.join(format!("{case}{name}.npy"))).data;
        let data = stored.read_data([0; 3], shape).unwrap();
        assert!(data.data().iter().zip(expected("")).all(|(a, b)| f64::from(*a) == b));
        let labels = stored.read_segmentation([0; 3], shape).unwrap();
        assert!(labels.data().iter().zip(expected("_seg")).all(|(a, b)| f64::from(*a) == b));

        let properties = stored.properties().unwrap();
        assert_eq!(properties.shape_before_cropping, shape);
        let locations = properties.class_locations.as_ref().unwrap();
        assert_eq!(locations.len(), 2);
        for (class, voxels) in locations.iter() {
            for &[z, y, x] in voxels {
                let index = labels.index(z as usize, y as usize, x as usize);
                assert!(class.contains(labels.data()[index].into()));
            }
        }
        let temporary = tempfile::tempdir().unwrap();
        let copy = temporary.path().join("case.pkl");
        properties.write(&copy).unwrap();
        assert_eq!(Properties::read(&copy).unwrap(), properties);
    }
}

#[test]
fn labels_that_lie_elsewhere_or_are_no_numbers_are_a_warning_each() {
    let phantom = Phantom::new(3);
    let rewrite = |case: usize, geometry: Geometry, spoil: bool| {
        let path = phantom.label(case);
        let mut labels = nifti::read(&path).unwrap().volume;
        if spoil {
            labels.data_mut()[..2].copy_from_slice(&[f32::NAN, f32::INFINITY]);
        }
        nifti::write(&path, &labels, &geometry).unwrap();
    };
    rewrite(0, Geometry::with_spacing([1.0, 1.0, 3.0]), false);
    let origin = Geometry { origin: [5.0, 0.0, 0.0], ..Geometry::with_spacing([1.0, 1.0, 1.5]) };
    rewrite(1, origin, false);
    rewrite(2, Geometry::with_spacing([1.0, 1.0, 1.5]), true);

    let (taken, made) = (Warnings::default(), Warnings::default());
    let dataset = phantom.dataset();
    let cases = training_cases(&phantom.raw, &dataset).unwrap();
    extract(&cases, &dataset, Ctx::new(&taken, &Cancel::new())).unwrap();
    phantom.preprocess(&PreprocessOptions::default(), Ctx::new(&made, &Cancel::new())).unwrap();
    for warnings in [taken, made] {
        let about = |case: usize| match warnings.about(&phantom.label(case)).as_slice() {
            [text] => text.clone(),
            other => panic!("case {case}: {other:?}"),
        };
        let (spacing, place) = (about(0), about(1));
        assert!(
            spacing.starts_with("spacing [3.0, 1.0, 1.0] mm (z, y, x) instead of [1.5, 0.89"),
            "{spacing}"
        );
        assert!(spacing.contains(&format!("that of {};", phantom.image(0).display())), "{spacing}");
        assert!(
            place.starts_with("origin [5.0, 0.0, 0.0] mm (x, y, z) instead of [0.0, 0.0, 0.0]"),
            "{place}"
        );
        assert_eq!(about(2), "2 voxels are NaN or infinite; they were read as 0");
        assert_eq!(warnings.said().len(), 3);
    }
}

/// Three quarters of a minute with the reference, seconds here: run with `--ignored`.
#[test]
#[ignore = "long: the whole of Dataset004_Hippocampus"]
fn hippocampus_from_raw_to_preprocessed() {
    let Some(raw) = shared_path("data/Dataset004_Hippocampus") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let root =
        std::env::var_os("NNUNET_PREPROCESS_OUTPUT").map_or(temporary.path().to_owned(), PathBuf::from);
    let preprocessed = root.join("Dataset004_Hippocampus");
    std::fs::create_dir_all(&preprocessed).unwrap();
    let dataset = DatasetJson::load(&raw.join("dataset.json")).unwrap();
    let start = Instant::now();
    let cases = training_cases(&raw, &dataset).unwrap();
    let fingerprint = extract(&cases, &dataset, Ctx::new(&Silent, &Cancel::new())).unwrap();
    fingerprint.save(&preprocessed.join("dataset_fingerprint.json")).unwrap();
    let extracted = start.elapsed();
    let plans = plan_dataset(
        "Dataset004_Hippocampus",
        &raw,
        &preprocessed,
        &PlannerOptions::default(),
        &Parts::default(),
    )
    .unwrap();
    let planned = start.elapsed();
    let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
    let options = PreprocessOptions::default();
    for configuration in ["3d_fullres", "2d"] {
        let start = Instant::now();
        let result = preprocess_dataset(
            folders,
            &dataset,
            &plans,
            &[configuration],
            &options,
            &Parts::default(),
            Ctx::new(&Silent, &Cancel::new()),
        );
        assert_eq!(made(&result.unwrap()), (cases.len(), 0));
        eprintln!("preprocess {configuration}: {:.2} s", start.elapsed().as_secs_f64());
    }
    eprintln!(
        "fingerprint {:.2} s, plan {:.3} s",
        extracted.as_secs_f64(),
        (planned - extracted).as_secs_f64()
    );
    check_against_samples(&preprocessed.join("nnUNetPlans_3d_fullres"));
}

/// Two cases are in the folder of references, as arrays.
fn check_against_samples(folder: &Path) {
    let Some(samples) = shared_path("reference/b2nd_sample") else { return };
    for case in ["hippocampus_001", "hippocampus_003"] {
        let stored = StoredCase::open(folder, case).unwrap();
        let data = stored.read_data([0; 3], stored.shape()).unwrap();
        let expected = nnunet_testkit::npy::read_npy(samples.join(format!("{case}.npy"))).f32();
        let largest = data.data().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest <= 1e-4, "{case}: {largest}");
    }
}
