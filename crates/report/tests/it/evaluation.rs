use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Event, Progress};
use nnunet_dataset::image_formats;
use nnunet_report::evaluation::{EvaluationRequest, evaluation_report};
use nnunet_report::{Report, ReportError};
use nnunet_testkit::phantom::{NiftiFile, Voxels};

use super::{HOSTILE, assert_self_contained};

/// Keeps the warnings.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Progress for Warnings {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// A block of the label `label`, from `start` to 12 along x, in 10 x 12 x 14 voxels.
fn block(label: u8, start: usize) -> NiftiFile {
    let mut voxels = vec![0; 10 * 12 * 14];
    for (at, voxel) in voxels.iter_mut().enumerate() {
        let (z, y, x) = (at / 168, at / 14 % 12, at % 14);
        if (3..7).contains(&z) && (4..9).contains(&y) && (start..12).contains(&x) {
            *voxel = label;
        }
    }
    NiftiFile::new([10, 12, 14], [3.0, 1.0, 1.0], Voxels::U8(voxels))
}

/// The entry of a case in a summary.json.
pub(crate) fn entry(folder: &Path, case: &str, dice: &str) -> String {
    let metrics = format!(
        r#"{{"Dice": {dice}, "IoU": {dice}, "FP": 1, "TP": 2, "FN": 3, "TN": 4, "n_pred": 3, "n_ref": 5, "HD95": 1.5}}"#
    );
    let file = |kind: &str| folder.join(kind).join(format!("{case}.nii.gz")).display().to_string();
    format!(
        r#"{{"metrics": {{"1": {metrics}}}, "prediction_file": "{}", "reference_file": "{}"}}"#,
        file("pred"),
        file("ref")
    )
}

/// A summary.json with these cases.
pub(crate) fn summary(path: &Path, entries: &[String]) {
    let mean = r#"{"Dice": 0.5, "IoU": 0.4, "FP": 1.0, "TP": 2.0, "FN": 3.0, "TN": 4.0, "n_pred": 3.0, "n_ref": 5.0, "HD95": 1.5}"#;
    let cases = entries.join(", ");
    let text =
        format!(r#"{{"foreground_mean": {mean}, "mean": {{"1": {mean}}}, "metric_per_case": [{cases}]}}"#);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn evaluated(root: &Path) -> PathBuf {
    for (number, case) in ["good", "middling", "bad"].into_iter().enumerate() {
        block(1, 2).write(root.join(format!("ref/{case}.nii.gz")));
        block(1, 2 + 3 * number).write(root.join(format!("pred/{case}.nii.gz")));
        block(90, 1).write(root.join(format!("images/{case}_0000.nii.gz")));
    }
    let label = serde_json::to_string(HOSTILE).unwrap();
    let json = format!(
        r#"{{"channel_names": {{"0": "CT"}}, "labels": {{"background": 0, {label}: 1}}, "numTraining": 3, "file_ending": ".nii.gz"}}"#
    );
    std::fs::write(root.join("pred/dataset.json"), json).unwrap();
    let path = root.join("pred/summary.json");
    let dice = [("good", "1.0"), ("middling", "0.82"), ("bad", "0.57"), ("<script>nothing", "NaN")];
    summary(&path, &dice.map(|(case, dice)| entry(root, case, dice)));
    path
}

fn report(summary: &Path, images: Option<&Path>, warnings: &Warnings) -> Result<Report, ReportError> {
    let formats = image_formats();
    let request = EvaluationRequest {
        viewer: false,
        summary,
        references: None,
        predictions: None,
        images,
        dataset_json: None,
        formats: &formats,
    };
    evaluation_report(&request, Ctx::new(warnings, &Cancel::new()))
}

#[test]
fn worst_median_and_best_case_are_drawn_and_names_are_escaped() {
    let root = tempfile::tempdir().unwrap();
    let path = evaluated(root.path());
    let warnings = Warnings::default();
    let report = report(&path, Some(&root.path().join("images")), &warnings).unwrap();
    assert_eq!(warnings.take(), Vec::<String>::new());
    assert_self_contained(&report.html);
    for (title, dice) in [("Worst: bad", "0.57"), ("Median: middling", "0.82"), ("Best: good", "1")] {
        let caption = report.html.split(&format!("<b>{title}</b>")).nth(1).unwrap();
        assert!(caption.starts_with(&format!("Mean Dice {dice} ")), "{title}: {}", &caption[..60]);
    }
    // Three planes each, with both contours in every one.
    assert_eq!(report.html.matches("data:image/png;base64,").count(), 9);
    assert_eq!(report.html.matches("path class=\"prediction\" transform").count(), 9);
    assert!(report.html.contains("&lt;script&gt;nothing"), "the case without a Dice is in the table");
    let names: Vec<&str> = report.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["01_metric_0", "02_metric_1", "03_case_worst", "04_case_median", "05_case_best"]);

    let folder = root.path().join("figures");
    report.save_figures(&folder).unwrap();
    let svg = std::fs::read_to_string(folder.join("05_case_best.svg")).unwrap();
    assert!(svg.starts_with("<?xml") && svg.contains("<title>Best: good</title>"), "{svg}");
    report.save(&root.path().join("report.html")).unwrap();
    assert_eq!(std::fs::read_to_string(root.path().join("report.html")).unwrap(), report.html);
}

#[test]
fn what_cannot_be_drawn_is_one_warning_and_the_rest_is_there() {
    let root = tempfile::tempdir().unwrap();
    let path = evaluated(root.path());
    std::fs::remove_file(root.path().join("ref/bad.nii.gz")).unwrap();
    NiftiFile::new([2, 2, 2], [1.0; 3], Voxels::U8(vec![1; 8])).write(root.path().join("pred/good.nii.gz"));
    let warnings = Warnings::default();
    let report = report(&path, None, &warnings).unwrap();
    let said = warnings.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("bad.nii.gz: the reference is not there; give its folder with -ref"),
        "{said:?}"
    );
    assert!(
        said[0].contains("good.nii.gz: shape [2, 2, 2] (z, y, x), but its reference has [10, 12, 14]"),
        "{said:?}"
    );
    assert!(report.html.contains("Median: middling") && report.html.contains("contours alone"));
    assert_eq!(report.html.matches("data:image/png").count(), 0);
}
