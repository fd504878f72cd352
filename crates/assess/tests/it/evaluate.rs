//! Evaluation of folders, through the public interface.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nnunet_assess::evaluate::{EvaluateError, FolderEvaluation, Missing, Summary, choose, metrics};
use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_dataset::{LabelOrRegion, image_formats};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_testkit::phantom::{NiftiFile, Voxels};
use nnunet_testkit::shared::shared_path;
use nnunet_testkit::warnings::Warnings;

fn request(folder: &Path, output: &Path) -> FolderEvaluation {
    let output = Some(output.to_owned());
    FolderEvaluation { output, ..FolderEvaluation::new(folder.join("gt"), folder.join("pred")) }
}

/// Evaluates the classes of the dataset in `root` and writes the summary.
fn evaluate(root: &Path, request: &FolderEvaluation, ctx: Ctx<'_>) -> Result<Summary, EvaluateError> {
    let summary =
        request.of_dataset(&root.join("dataset.json"), &root.join("plans.json"), &Parts::default(), ctx)?;
    summary.save(&request.summary_file())?;
    Ok(summary)
}

fn folder(root: &Path, request: &FolderEvaluation) -> Result<Summary, String> {
    evaluate(root, request, Ctx::new(&Silent, &Cancel::new())).map_err(|e| e.to_string())
}

/// The text of a summary with the folders taken out of the file names.
fn without_folders(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once("_file\": ") {
            Some((key, path)) => format!("{key}_file\": {}", path.rsplit('/').next().unwrap_or(path)),
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn summaries_equal_the_references_byte_for_byte() {
    for name in ["labels", "regions", "ignore"] {
        let Some(root) = shared_path(&format!("reference/eval/{name}")) else { return };
        let out = tempfile::tempdir().unwrap();
        let output = out.path().join("summary.json");
        let summary = folder(&root, &request(&root, &output)).unwrap();
        let compare = |golden: &str| {
            let ours = without_folders(&std::fs::read_to_string(&output).unwrap());
            assert_eq!(
                ours,
                without_folders(&std::fs::read_to_string(root.join(golden)).unwrap()),
                "{name} {golden}"
            );
        };
        compare("summary.json");
        assert_eq!(
            Summary::load(&output).unwrap().to_json().to_python(nnunet_pyformats::json::KeyOrder::Sorted),
            summary.to_json().to_python(nnunet_pyformats::json::KeyOrder::Sorted)
        );
        if name == "labels" {
            let request = request(&root, &output);
            let simple = request
                .of_labels(&[1, 2], None, &image_formats(), Ctx::new(&Silent, &Cancel::new()))
                .unwrap();
            simple.save(&request.summary_file()).unwrap();
            compare("summary_simple.json");
        }
    }
}

#[test]
fn regions_with_an_ignore_label_equal_the_reference_byte_for_byte() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/evaluate"));
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("summary.json");
    folder(root, &request(root, &output)).unwrap();
    let ours = without_folders(&std::fs::read_to_string(&output).unwrap());
    assert_eq!(ours, without_folders(&std::fs::read_to_string(root.join("summary.json")).unwrap()));
}

/// Two cases of 8 voxels; class 2 is nowhere in the first, class 3 nowhere at all.
fn small(root: &Path) {
    let write = |part: &str, case: &str, voxels: [u8; 8]| {
        let name = root.join(part).join(format!("{case}.nii.gz"));
        NiftiFile::new([2, 2, 2], [1.0; 3], Voxels::U8(voxels.to_vec())).write(name);
    };
    write("gt", "a", [0, 0, 0, 0, 1, 1, 1, 1]);
    write("pred", "a", [0, 0, 0, 1, 1, 1, 1, 0]);
    write("gt", "b", [0, 2, 2, 0, 1, 1, 0, 0]);
    write("pred", "b", [0, 2, 0, 0, 0, 1, 0, 0]);
    std::fs::write(
        root.join("dataset.json"),
        r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1, "y": 2, "z": 3}, "numTraining": 2,
            "file_ending": ".nii.gz"}"#,
    )
    .unwrap();
    std::fs::write(root.join("plans.json"), r#"{"label_manager": "LabelManager"}"#).unwrap();
}

#[test]
fn nan_where_a_class_is_in_neither_and_left_out_of_means_over_cases_only() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    let output = root.path().join("out.json");
    let summary = folder(root.path(), &request(root.path(), &output)).unwrap();
    let case = &summary.metric_per_case[0];
    assert_eq!(case.metrics[0].1.dice, 0.75);
    assert!(case.metrics[1].1.dice.is_nan() && case.metrics[1].1.iou.is_nan());
    assert_eq!(case.metrics[1].1.tn, 8.0);
    let mean =
        |label: i32| summary.mean.iter().find(|m| m.0 == LabelOrRegion::Label(label)).unwrap().1.clone();
    assert_eq!(mean(1).dice, (0.75 + 2.0 / 3.0) / 2.0);
    assert_eq!(mean(2).dice, 2.0 / 3.0, "only the case that has the class");
    assert!(mean(3).dice.is_nan());
    assert!(summary.foreground_mean.dice.is_nan(), "NaN of a class is not left out");
    assert_eq!(summary.foreground_mean.fn_, (1.0 + 0.5 + 0.0) / 3.0);
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.contains("\"Dice\": NaN") && text.contains("\"TP\": 3,"), "{text}");
    assert!(Json::parse(&text).is_ok());
}

#[test]
fn a_case_that_does_not_fit_into_the_memory_is_refused_before_any_is_evaluated() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    NiftiFile::new([64, 64, 64], [1.0; 3], Voxels::U8(vec![0; 1 << 18]))
        .write(root.path().join("pred/b.nii.gz"));
    let output = root.path().join("out.json");
    let cancel = Cancel::new();
    let within = |bytes: u64| {
        let ctx = Ctx::new(&Silent, &cancel).within(Some(bytes));
        evaluate(root.path(), &request(root.path(), &output), ctx).map_err(|e| e.to_string())
    };
    let refusal = within(1_000_000).unwrap_err();
    // 16 bytes for each of the voxels.
    assert!(
        refusal.starts_with("more memory than the limit of 1 MB: ") && refusal.contains("4 MB"),
        "{refusal}"
    );
    assert!(refusal.contains("pred/b.nii.gz") && !output.exists(), "{refusal}");
    let other = within(5_000_000).unwrap_err();
    assert!(other.contains("shape"), "it fits, and is evaluated: {other}");
}

#[test]
fn voxels_that_are_no_numbers_are_a_warning_for_each_file() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    let voxels = |first: f32| vec![first, 0., 0., 0., 1., 1., 1., 1.];
    let write = |name: &str, first: f32| {
        let path = root.path().join(name);
        NiftiFile::new([2, 2, 2], [1.0; 3], Voxels::F32(voxels(first))).write(&path);
        format!("{}: 1 voxels are NaN or infinite; they were read as 0", path.display())
    };
    let expected = [write("gt/a.nii.gz", f32::NAN), write("pred/b.nii.gz", f32::INFINITY)];
    let warnings = Warnings::default();
    let request = request(root.path(), &root.path().join("out.json"));
    evaluate(root.path(), &request, Ctx::new(&warnings, &Cancel::new())).unwrap();
    let mut said = warnings.said();
    said.sort();
    assert_eq!(said, expected);
}

#[test]
fn missing_predictions_are_refused_unless_tolerated() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    std::fs::remove_file(root.path().join("pred/b.nii.gz")).unwrap();
    let mut request = request(root.path(), &root.path().join("out.json"));
    let message = folder(root.path(), &request).unwrap_err();
    assert!(message.contains("1 of 2 reference segmentations have no prediction: b.nii.gz"), "{message}");
    assert!(!root.path().join("out.json").exists());
    request.missing = Missing::Tolerated;
    request.output = None;
    assert_eq!(folder(root.path(), &request).unwrap().metric_per_case.len(), 1);
    assert!(root.path().join("pred/summary.json").exists());
}

#[test]
fn faulty_cases_are_named_all_at_once() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    let request = request(root.path(), &root.path().join("out.json"));
    NiftiFile::new([1, 2, 4], [1.0; 3], Voxels::U8(vec![0; 8])).write(root.path().join("pred/a.nii.gz"));
    NiftiFile::new([2, 2, 2], [1.0; 3], Voxels::U8(vec![0; 8])).write(root.path().join("pred/extra.nii.gz"));
    let message = folder(root.path(), &request).unwrap_err();
    assert!(message.starts_with("2 cases cannot be evaluated"), "{message}");
    assert!(
        message.contains("a.nii.gz: shape [1, 2, 4]") && message.contains("gt/extra.nii.gz"),
        "{message}"
    );

    std::fs::write(root.path().join("plans.json"), r#"{"label_manager": "Other"}"#).unwrap();
    assert!(
        folder(root.path(), &request)
            .unwrap_err()
            .contains("label_manager: found Other, expected one that is known: LabelManager")
    );
    let simple = request.of_labels(&[], None, &image_formats(), Ctx::new(&Silent, &Cancel::new()));
    assert_eq!(simple.unwrap_err().to_string(), "no labels to evaluate");
}

#[test]
fn metrics_beyond_the_references_are_there_only_if_asked_for() {
    let root = tempfile::tempdir().unwrap();
    small(root.path());
    let output = root.path().join("summary.json");
    let mut request = request(root.path(), &output);
    folder(root.path(), &request).unwrap();
    let plain = std::fs::read_to_string(&output).unwrap();
    assert!(!plain.contains("HD95") && !plain.contains("RVE"));

    request.metrics = choose(["voxel_surface", "volumes"], &metrics()).unwrap();
    let summary = folder(root.path(), &request).unwrap();
    let added = |case: usize, class: usize| -> Vec<(&str, f64)> {
        summary.metric_per_case[case].metrics[class].1.added.entries().collect()
    };
    // Three of four voxels are the same, the fourth of each lies beside the other.
    assert_eq!(
        added(0, 0),
        [
            ("HD95", 0.95 * 3.0 - 2.0),
            ("ASSD", 0.25),
            ("NSD", 1.0),
            ("ml_pred", 0.004),
            ("ml_ref", 0.004),
            ("AVE", 0.0),
            ("RVE", 0.0)
        ]
    );
    let values = |case, class| added(case, class).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert!(values(0, 1)[..3].iter().all(|v| v.is_nan()) && values(0, 1)[6].is_nan(), "class 2 is nowhere");
    assert_eq!(values(1, 1)[6], -0.5, "one of two voxels");
    let read = Summary::load(&output).unwrap();
    assert_eq!(read.to_json().to_python(KeyOrder::Sorted), std::fs::read_to_string(&output).unwrap());
    assert_eq!(read.mean[0].1.added.entries().count(), 7);
}
