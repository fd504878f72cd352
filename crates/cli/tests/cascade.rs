//! A cascade from end to end on a phantom: low resolution, what it leaves for the next stage, the training of
//! the next stage, and its prediction with and without the first stage's segmentations at hand.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{DATASET, Place, text};
use nnunet_image_io::nifti;
use serde_json::{Value, json};

#[test]
fn a_cascade_is_trained_and_predicted() {
    let place = Place::new();
    place.succeed("plan-and-preprocess -d 7 --no_pp");
    place.write_plans("steps", |plans| {
        let configurations = &mut plans["configurations"];
        let mut low = configurations["3d_fullres"].clone();
        low["spacing"] = json!([1.5, 1.5, 1.5]);
        low["data_identifier"] = json!("steps_low");
        low["next_stage"] = json!("3d_cascade_fullres");
        configurations["3d_lowres"] = low;
        configurations["3d_cascade_fullres"] =
            json!({"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"});
    });
    place.succeed("preprocess -d 7 -plans_name steps -c 3d_fullres 3d_lowres");

    // The second stage says what it needs before there is a first.
    let schedule = "-p steps --epochs 2 --iterations-per-epoch 100 --threads 2";
    let early = place.run(&format!("train 7 3d_cascade_fullres 0 {schedule}"));
    assert_eq!(early.status.code(), Some(1));
    let said = text(&early.stderr);
    assert!(said.contains("3d_lowres") && said.contains("missing: ball_000, ball_001, ball_002"), "{said}");

    place.succeed(&format!("train 7 3d_lowres all {schedule} --npz"));
    let model = |configuration: &str| {
        place.path("res").join(DATASET).join(format!("nnUNetTrainer_2epochs__steps__{configuration}"))
    };
    let next = model("3d_lowres").join("predicted_next_stage/3d_cascade_fullres");
    for case in 0..5 {
        assert!(next.join(format!("ball_{case:03}.b2nd")).is_file());
    }
    a_validation_is_a_prediction(&place, &model("3d_lowres"), &next, schedule);
    place.succeed(&format!("train 7 3d_cascade_fullres 0 {schedule}"));
    let summary = model("3d_cascade_fullres").join("fold_0/validation/summary.json");
    let summary = std::fs::read_to_string(summary).unwrap().replace("NaN", "null");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let dice = summary["foreground_mean"]["Dice"].as_f64().unwrap();
    assert!(dice > 0.5, "{dice}");

    // The first stage's model lies beside: its predictions are made on the way.
    let images = place.path("raw").join(DATASET).join("imagesTr");
    let whole = model("3d_cascade_fullres");
    let predict = format!("predict -i {} -m {} -f 0 --disable_tta", images.display(), whole.display());
    let output = place.run(&format!("{predict} -o out"));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3d_lowres comes first") && said.contains("folds all"), "{said}");
    assert!(place.path("out/prediction_3d_lowres/ball_000.nii.gz").is_file());

    // With those predictions named, the result is the same; without one of them, the case is named.
    let low = place.path("out/prediction_3d_lowres");
    let with = format!("{predict} -prev_stage_predictions {}", low.display());
    place.succeed(&format!("{with} -o again"));
    let labels = |folder: &str| nifti::read(place.path(folder).join("ball_003.nii.gz")).unwrap().volume;
    assert_eq!(labels("out"), labels("again"));
    // A voxel of them that is no number says so.
    let spoilt = low.join("ball_001.nii.gz");
    let mut image = nifti::read(&spoilt).unwrap();
    image.volume.data_mut()[0] = f32::NAN;
    nifti::write(&spoilt, &image.volume, &image.geometry).unwrap();
    let output = place.run(&format!("{with} -o spoilt"));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("warning: ")).collect();
    let expected = "prediction_3d_lowres/ball_001.nii.gz: 1 voxels are NaN or infinite; they were read as 0";
    assert!(warnings.len() == 1 && warnings[0].ends_with(expected), "{warnings:?}");
    std::fs::remove_file(low.join("ball_002.nii.gz")).unwrap();
    let output = place.run(&format!("{with} -o third"));
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("ball_002") && said.contains("1 cases"), "{said}");

    // Plans of a single stage take no previous one; a second stage alone says what it needs.
    let low = format!("predict -i {} -m {} -o x", images.display(), model("3d_lowres").display());
    let output = place.run(&format!("{low} -prev_stage_predictions out"));
    assert!(text(&output.stderr).contains("takes no segmentations of a previous stage"));
    std::fs::rename(model("3d_lowres"), place.path("elsewhere")).unwrap();
    let output = place.run(&format!("{predict} -o fourth"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("-prev_stage_predictions"), "{}", text(&output.stderr));
}

/// The final validation segments as `predict` does, with and without probabilities, and leaves the same for the next
/// stage.
fn a_validation_is_a_prediction(place: &Place, model: &Path, next: &Path, schedule: &str) {
    let images = place.path("raw").join(DATASET).join("imagesTr");
    let predict = format!("predict -i {} -m {}", images.display(), model.display());
    place.succeed(&format!("{predict} -o as_predicted --save_probabilities --threads 2"));
    let validation = model.join("fold_all/validation");
    let validated = |name: &str| std::fs::read(validation.join(name)).unwrap();
    let predicted = |name: &str| std::fs::read(place.path("as_predicted").join(name)).unwrap();
    let left = || -> Vec<Vec<u8>> {
        (0..5).map(|case| std::fs::read(next.join(format!("ball_{case:03}.b2nd"))).unwrap()).collect()
    };
    let (segmentation, with_probabilities) = (validated("ball_001.nii.gz"), left());
    for name in ["ball_001.nii.gz", "ball_001.npz", "ball_004.nii.gz", "ball_004.npz"] {
        assert_eq!(validated(name), predicted(name), "{name}");
    }
    // Without probabilities, slices are decided as they come. With a limit, no two cases overlap.
    for limit in ["", " --max-ram 0.2"] {
        std::fs::remove_dir_all(&validation).unwrap();
        std::fs::remove_dir_all(next).unwrap();
        place.succeed(&format!("train 7 3d_lowres all {schedule} --val{limit}"));
        assert!(validated("ball_001.nii.gz") == segmentation && left() == with_probabilities, "{limit}");
    }
    let output = place.run(&format!("train 7 3d_lowres all {schedule} --val --max-ram 0.001"));
    let said = text(&output.stderr);
    assert!(said.contains("5 of 5 validation cases failed") && said.contains("--max-ram"), "{said}");
}
