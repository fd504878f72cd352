//! Every part of the program takes part in a training and in a prediction with its result.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use nnunet_testkit::phantom::PhantomDataset;
use serde_json::Value;

/// Runs the program in `folder` and returns what it said on stdout and stderr.
fn run(folder: &Path, words: &str) -> [String; 2] {
    let output = Command::new(env!("CARGO_BIN_EXE_own-parts"))
        .args(words.split_whitespace())
        .env("nnUNet_raw", folder.join("raw"))
        .env("nnUNet_preprocessed", folder.join("preprocessed"))
        .env("nnUNet_results", folder.join("results"))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{words}: {said:?}");
    said
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_phantom_is_planned_trained_and_predicted_with_own_parts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let dataset = PhantomDataset::default().write(&folder.join("raw"), "Dataset007_Balls");
    let described = fs::read_to_string(dataset.join("dataset.json")).unwrap();
    fs::write(dataset.join("dataset.json"), described.replace("MR0", "robust")).unwrap();

    run(folder, "plan-and-preprocess -d 7 -pl FlatPlanner -c 3d_fullres");
    let plans = json(&folder.join("preprocessed/Dataset007_Balls/FlatPlans.json"));
    let configuration = &plans["configurations"]["3d_fullres"];
    assert_eq!(plans["experiment_planner_used"], "FlatPlanner");
    assert_eq!(configuration["architecture"]["network_class_name"], "own_parts.FlatNet");
    assert_eq!(configuration["normalization_schemes"][0], "MedianNormalization");

    let training = "train 7 3d_fullres 0 -p FlatPlans -tr FlatTrainer --epochs 2 --iterations-per-epoch 4";
    run(folder, training);
    let model = "results/Dataset007_Balls/FlatTrainer_2epochs__FlatPlans__3d_fullres";
    let scores = json(&folder.join(model).join("fold_0/validation/summary.json"));
    assert!(scores["foreground_mean"]["Dice"].is_number());

    let [_, said] =
        run(folder, &format!("predict -m {model} -i {} -o out", dataset.join("imagesTr").display()));
    assert!(!said.contains("not known"), "{said}");
    for case in 0..5 {
        assert!(folder.join(format!("out/ball_{case:03}.nii.gz")).is_file());
    }

    let [explained, _] = run(folder, "explain -d 7 -p FlatPlans");
    assert!(explained.contains("at most 64 voxels per axis"), "{explained}");
}
