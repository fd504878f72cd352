//! Trained models side by side, from the files that trainings leave.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet::compare::{CompareRequest, Comparison};
use nnunet::{Ctx, Error, Folders, Project};
use nnunet_assess::evaluate::{CaseMetrics, Metrics, Summary};
use nnunet_base::progress::Cancel;
use nnunet_dataset::{DatasetName, LabelOrRegion};
use nnunet_recipe::Recipe;
use nnunet_testkit::warnings::Warnings;

const BASELINE: &str = "nnUNetTrainer__nnUNetPlans__3d_fullres";
const DATASET: &str = "Dataset003_Made";

/// A place with results only.
struct Results {
    folder: tempfile::TempDir,
    warnings: Warnings,
}

impl Results {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), warnings: Warnings::default() }
    }

    fn fold(&self, model: &str, fold: &str) -> PathBuf {
        self.folder.path().join(DATASET).join(model).join(format!("fold_{fold}"))
    }

    /// The validation of a fold: the Dice of labels 1 and 2 of each case.
    fn write(&self, model: &str, fold: &str, cases: &[(&str, [f64; 2])]) {
        let metric_per_case = cases.iter().map(|(case, dice)| CaseMetrics {
            reference_file: format!("/labels/{case}.nii.gz"),
            prediction_file: format!("/{model}/{case}.nii.gz"),
            metrics: (1..).map(LabelOrRegion::Label).zip(dice.map(metrics)).collect(),
        });
        let validation = self.fold(model, fold).join("validation");
        fs::create_dir_all(&validation).unwrap();
        Summary::new(metric_per_case.collect()).save(&validation.join("summary.json")).unwrap();
    }

    fn write_recipe(&self, model: &str, fold: &str, recipe: &Recipe) {
        fs::write(self.fold(model, fold).join("recipe.toml"), recipe.to_toml()).unwrap();
    }

    fn compare(&self, baseline: Option<&str>) -> Result<Comparison, Error> {
        let project =
            Project::new(Folders { results: Some(self.folder.path().to_owned()), ..Folders::default() });
        let mut request = CompareRequest::new(DatasetName::new(DATASET).unwrap());
        request.baseline = baseline.map(str::to_owned);
        let cancel = Cancel::new();
        project.compare(&request, Ctx::new(&self.warnings, &cancel))
    }
}

fn metrics(dice: f64) -> Metrics {
    let count = 1.0;
    Metrics {
        dice,
        iou: dice / (2.0 - dice),
        fp: count,
        tp: count,
        fn_: count,
        tn: count,
        n_pred: count,
        n_ref: count,
        added: Default::default(),
    }
}

/// Two models over two folds; the second is better by 0.02 to 0.12 in every case but one.
fn two_models() -> Results {
    let results = Results::new();
    let base = [0.80, 0.70, 0.60, 0.85, 0.75, 0.65];
    let gains = [0.02, 0.04, 0.06, -0.01, 0.10, 0.12];
    for fold in [0, 1] {
        let at = |i: usize| format!("case_{}", fold * 3 + i);
        let names: Vec<String> = (0..3).map(at).collect();
        let dice = |gain: bool| {
            let value = |i: usize| base[fold * 3 + i] + if gain { gains[fold * 3 + i] } else { 0.0 };
            names.iter().enumerate().map(|(i, name)| (name.as_str(), [value(i); 2])).collect::<Vec<_>>()
        };
        let fold = fold.to_string();
        results.write(BASELINE, &fold, &dice(false));
        results.write("focal__nnUNetPlans__3d_fullres", &fold, &dice(true));
    }
    results
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
}

#[test]
fn models_are_compared_over_the_cases_that_both_have() {
    let results = two_models();
    let recipe = Recipe::default_trainer();
    results.write_recipe(BASELINE, "0", &recipe);
    let focal = Recipe { name: "focal".to_owned(), loss: nnunet_base::parts::Choice::new("focal"), ..recipe };
    results.write_recipe("focal__nnUNetPlans__3d_fullres", "0", &focal);
    let log = "2024-01-01 00:00:00.000000: Epoch 0\n2024-01-01 00:00:00.000000: Epoch time: 90.5 s\n";
    for fold in ["0", "1"] {
        fs::write(results.fold(BASELINE, fold).join("training_log_2024_1_1_00_00_00.txt"), log).unwrap();
    }

    let found = results.compare(None).unwrap();
    assert_eq!(results.warnings.said(), Vec::<String>::new());
    let [focal, base] = &found.models[..] else { panic!("{:?}", found.models) };
    assert_eq!((found.baseline, base.result.name.to_string().as_str()), (1, BASELINE));
    close(base.result.dice, 4.35 / 6.0);
    close(base.result.folds[1].dice, 0.75);
    assert_eq!(base.result.seconds(), Some(181.0));
    assert_eq!((focal.result.seconds(), base.difference.as_ref()), (None, None));
    assert_eq!(focal.changes, ["loss was dice_ce, is focal"]);

    let difference = focal.difference.as_ref().unwrap();
    assert_eq!((difference.pairs, difference.left_out), (6, 0));
    close(difference.mean, 0.33 / 6.0);
    close(difference.median, 0.05);
    // The one that is worse has the smallest rank: 20 of 21 against 1, and p = 2 * 2 / 64.
    close(difference.rank_biserial, 19.0 / 21.0);
    close(difference.p, 0.0625);
    assert_eq!(difference.p_holm, difference.p, "one test");
    let [low, high] = difference.mean_interval;
    assert!(low < difference.mean && difference.mean < high && low > -0.01 && high < 0.12, "{low} {high}");

    let text = found.to_text();
    assert!(text.contains("+0.0550") && text.contains("3 min 01 s"), "{text}");
    assert!(text.contains(&format!("{BASELINE} *")), "{text}");
    assert_eq!(found.to_tsv().lines().count(), 3);
    let json: serde_json::Value = serde_json::from_str(&found.to_json()).unwrap();
    assert_eq!(json["models"][0]["difference"]["pairs"], 6);
    assert_eq!(json["models"][1]["difference"], serde_json::Value::Null);
    assert_eq!(json["models"][0]["seconds"], serde_json::Value::Null);
    assert_eq!(json["baseline"], BASELINE);
}

#[test]
fn what_is_left_out_is_said() {
    let results = two_models();
    // Absent in the reference and not predicted: no Dice. Predicted all the same: 0.
    results.write(
        "other__nnUNetPlans__2d",
        "0",
        &[("case_0", [0.5, f64::NAN]), ("case_1", [f64::NAN, f64::NAN]), ("case_9", [1.0, 1.0])],
    );
    results.write(BASELINE, "all", &[("case_0", [1.0, 1.0])]);
    fs::create_dir_all(results.fold("begun__nnUNetPlans__2d", "0")).unwrap();
    let found = results.compare(Some("focal")).unwrap();
    assert_eq!(
        results.warnings.said(),
        [
            "begun__nnUNetPlans__2d: no validation results; left out",
            "nnUNetTrainer__nnUNetPlans__3d_fullres: fold all is left out, since it was validated on the cases that it was \
             trained with",
            "other__nnUNetPlans__2d: no validation results of fold 1; its means are those of the others",
        ]
    );
    let other = &found.models[2];
    let difference = other.difference.as_ref().unwrap();
    assert_eq!((difference.pairs, difference.left_out), (1, 6), "case_0; without case_1, of 0 to 5 and 9");
    close(difference.mean, 0.5 - 0.82);
    close(difference.p, 1.0);
    assert_eq!(other.result.missing, [1]);
    // The trainer is none that is known.
    assert!(other.changes.contains(&"configuration was 3d_fullres, is 2d".to_owned()), "{:?}", other.changes);
    assert!(other.changes[1].starts_with("trainer was focal, is other"), "{:?}", other.changes);
    // Two tests: the smaller p counts twice.
    let base = found.models[1].difference.as_ref().unwrap();
    close(base.p_holm, 2.0 * base.p);
}

#[test]
fn mistakes_are_named() {
    let results = Results::new();
    let error = results.compare(None).unwrap_err().to_string();
    assert!(error.contains("no model here has validation results"), "{error}");

    let results = two_models();
    let error = results.compare(Some("focl")).unwrap_err().to_string();
    assert!(error.contains("\"focl\": no such model (did you mean focal?)"), "{error}");
    let error = results.compare(Some("3d_fullres")).unwrap_err().to_string();
    assert!(error.contains("several models have it"), "{error}");

    let broken = results.fold(BASELINE, "1").join("validation/summary.json");
    for text in ["{", "{}"] {
        fs::write(&broken, text).unwrap();
        let error = results.compare(None).unwrap_err().to_string();
        assert!(error.contains(&*Path::new("fold_1/validation/summary.json").to_string_lossy()), "{error}");
    }
    results.write(BASELINE, "1", &[("case_3", [0.5; 2])]);
    fs::write(results.fold(BASELINE, "1").join("recipe.toml"), "epoch = 3").unwrap();
    let error = results.compare(None).unwrap_err().to_string();
    assert!(error.contains("recipe.toml") && error.contains("epoch"), "{error}");
}
