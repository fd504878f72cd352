//! Quality control without a reference, on phantoms that the model has not seen.

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_dataset::LabelManager;
use nnunet_dataset::cases::prediction_cases;
use nnunet_exec_cpu::{CpuBackend, CpuOptions};
use nnunet_image_io::nifti;
use nnunet_infer::predict::quality::TrainingVolumes;
use nnunet_infer::predict::{Model, PredictRequest, Predictor, QualityRequest, WindowOptions, predict_cases};
use nnunet_recipe::recipes;
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};

/// The scores have to rank the cases by their true Dice at least this well (Spearman); the highest score is the worst case. Measured:
/// -0.988 (scores 0.02 to 0.13, Dice 0.97 to 0.62: the score ranks, it is no estimate of 1 - Dice).
const RANK_CORRELATION: f64 = -0.9;

/// A case with noise of growing strength, as the training set does not have it.
fn write_degraded(folder: &Path, number: u32) -> String {
    let name = format!("new_{number:02}");
    PhantomDataset::default().write_case(&folder.join("clean"), &folder.join("labels"), &name, 500 + number);
    let clean = nifti::read(folder.join(format!("clean/{name}_0000.nii.gz"))).unwrap();
    let mut random = u64::from(number) + 1;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let strength = 14.0 * number as f32;
    let voxels =
        clean.volume.data().iter().map(|v| if *v == 0.0 { 0 } else { (v + strength * noise()) as i16 });
    NiftiFile::new(clean.volume.shape(), [1.0; 3], Voxels::I16(voxels.collect()))
        .write(folder.join(format!("images/{name}_0000.nii.gz")));
    name
}

/// Mean Dice of shell and core.
fn dice(prediction: &Path, truth: &Path) -> f64 {
    let read = |path: &Path| nifti::read(path).unwrap().volume.into_data();
    let (found, truth) = (read(prediction), read(truth));
    let of = |label: f32| {
        let both = found.iter().zip(&truth).filter(|(a, b)| **a == label && **b == label).count();
        let each = [&found, &truth].map(|all| all.iter().filter(|v| **v == label).count());
        2.0 * both as f64 / (each[0] + each[1]) as f64
    };
    (of(1.0) + of(2.0)) / 2.0
}

/// Spearman's correlation of values without ties.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        values.iter().map(|v| values.iter().filter(|other| *other < v).count() as f64).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len() as f64;
    let squares: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

fn predictor(folds: usize) -> Predictor<'static> {
    let mut model =
        Model::load(&ball_model(), &[], "checkpoint_final.pth", &Parts::default(), &recipes()).unwrap();
    for fold in 1..folds {
        let mut other = model.weights[0].clone();
        let factor = 1.0 + 0.05 * fold as f32;
        other.iter_mut().for_each(|(_, p)| p.value_mut().iter_mut().for_each(|v| *v *= factor));
        model.weights.push(other);
    }
    let cpu = CpuBackend::new(CpuOptions { threads: 2, ..CpuOptions::default() });
    Predictor::new(model.spec, model.weights, &cpu, WindowOptions::default()).unwrap()
}

fn predict(folds: usize, request: &PredictRequest) {
    let mut predictor = predictor(folds);
    let cases = prediction_cases(&request.sources[0], &predictor.spec().dataset).unwrap();
    predict_cases(&mut predictor, &cases, request, Ctx::new(&Silent, &Cancel::new())).unwrap();
}

/// The lines of `qc.tsv` as fields.
fn table(folder: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("qc.tsv")).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn the_score_ranks_held_out_cases_by_their_dice() {
    let root = tempfile::tempdir().unwrap();
    let (images, out) = (root.path().join("images"), root.path().join("out"));
    let names: Vec<String> = (0..16).map(|number| write_degraded(root.path(), number)).collect();
    let request =
        PredictRequest { quality: Some(QualityRequest::default()), ..PredictRequest::new(&images, &out) };
    predict(1, &request);
    let table = table(&out);
    assert_eq!(table[0][..3], ["case", "score", "passes"]);
    let score = |name: &String| {
        let line = table.iter().find(|line| line[0] == *name).unwrap();
        assert_eq!(line[2], "8");
        line[1].parse::<f64>().unwrap()
    };
    let scores: Vec<f64> = names.iter().map(score).collect();
    let truth = names.iter().map(|name| {
        let file = format!("{name}.nii.gz");
        dice(&out.join(&file), &root.path().join("labels").join(file))
    });
    let truth: Vec<f64> = truth.collect();
    let found = rank_correlation(&scores, &truth);
    assert!(found <= RANK_CORRELATION, "{found}: scores {scores:?}, Dice {truth:?}");
    // Those to look at first are on top.
    let listed: Vec<f64> = table[1..].iter().map(|line| line[1].parse().unwrap()).collect();
    assert!(listed.is_sorted_by(|a, b| a >= b));
}

#[test]
fn segmentations_are_the_same_with_and_without_and_a_run_is_resumed() {
    let root = tempfile::tempdir().unwrap();
    let images = root.path().join("images");
    for number in [1, 2] {
        write_degraded(root.path(), number);
    }
    let plain = root.path().join("plain");
    predict(2, &PredictRequest::new(&images, &plain));
    let probabilities = root.path().join("probabilities");
    predict(2, &PredictRequest { save_probabilities: true, ..PredictRequest::new(&images, &probabilities) });
    for save_probabilities in [false, true] {
        let out = root.path().join(format!("qc_{save_probabilities}"));
        let quality = Some(QualityRequest::default());
        let request = PredictRequest { quality, save_probabilities, ..PredictRequest::new(&images, &out) };
        predict(2, &request);
        let bytes = |folder: &Path, file: &str| std::fs::read(folder.join(file)).unwrap();
        for case in ["new_01", "new_02"] {
            let file = format!("{case}.nii.gz");
            assert!(bytes(&plain, &file) == bytes(&out, &file), "{file}");
            let file = format!("{case}.npz");
            assert!(!save_probabilities || bytes(&probabilities, &file) == bytes(&out, &file), "{file}");
        }
        let written = table(&out);
        assert!(written.len() == 3 && written[1][2] == "16", "{written:?}");

        // A case that is predicted but not in the table is made again, the other is kept.
        let lines: Vec<String> = written[..2].iter().map(|line| line.join("\t")).collect();
        std::fs::write(out.join("qc.tsv"), lines.join("\n") + "\n").unwrap();
        let kept = out.join(format!("{}.nii.gz", written[1][0]));
        std::fs::write(&kept, "kept").unwrap();
        predict(2, &PredictRequest { overwrite: false, ..request });
        assert_eq!(table(&out), written);
        assert_eq!(std::fs::read(&kept).unwrap(), b"kept");

        // New segmentations without quality control leave no table about the old ones.
        predict(2, &PredictRequest::new(&images, &out));
        assert!(!out.join("qc.tsv").exists());
    }
}

#[test]
fn volumes_that_the_training_set_does_not_have_are_named() {
    let root = tempfile::tempdir().unwrap();
    let training = PhantomDataset { cases: 6, ..PhantomDataset::default() };
    let raw = training.write(root.path(), "Dataset001_Balls");
    let spec = predictor(1).spec().clone();
    let classes = LabelManager::new(&spec.dataset).unwrap().foreground();
    let files: Vec<_> = (0..6).map(|case| raw.join(format!("labelsTr/ball_{case:03}.nii.gz"))).collect();
    let reader = spec.image_reader().unwrap();
    let cancel = Cancel::new();
    let ctx = Ctx::new(&Silent, &cancel);
    let volumes = TrainingVolumes::measure(&files, &spec.dataset, &classes, &reader, ctx).unwrap();
    assert_eq!(volumes.cases(), 6);

    // One ball as in the training set, one of twice the size.
    let images = root.path().join("images");
    let labels = root.path().join("labels");
    PhantomDataset::default().write_case(&images, &labels, "usual", 70);
    PhantomDataset { shape: [40, 48, 44], ..PhantomDataset::default() }
        .write_case(&images, &labels, "large", 71);
    let out = root.path().join("out");
    let quality = Some(QualityRequest { training: Some(volumes) });
    predict(1, &PredictRequest { quality, ..PredictRequest::new(&images, &out) });
    let table = table(&out);
    let look_at = |case: &str| table.iter().find(|line| line[0] == case).unwrap().last().unwrap().clone();
    assert_eq!(table[1][0], "large");
    assert!(look_at("large").contains("times the training set's median"), "{table:?}");
    assert!(!look_at("usual").contains("volume"), "{table:?}");
}
