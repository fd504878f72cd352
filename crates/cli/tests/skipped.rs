//! What is skipped, assumed or refused says so: one line for each, in every verb and for machines.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use common::{DATASET, Place, text};

/// The lines of stderr with these words.
fn lines(place: &Place, command: &str, words: &str) -> Vec<String> {
    let output = place.run(command);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    said.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn files_that_are_no_cases_are_one_line_in_every_verb() {
    let place = Place::new();
    let images = place.path("raw").join(DATASET).join("imagesTr");
    fs::copy(images.join("ball_000_0000.nii.gz"), images.join("stray.nii.gz")).unwrap();
    std::os::unix::fs::symlink("nowhere.nii.gz", images.join("gone_0000.nii.gz")).unwrap();

    for command in [
        "fingerprint -d 7",
        "plan-and-preprocess -d 7 -c 2d 3d_fullres --clean",
        "preprocess -d 7 -c 3d_fullres",
        "overlay -d 7 --use_raw -o pictures",
    ] {
        let said = lines(&place, command, "not used");
        let [line] = said.as_slice() else { panic!("{command}: {said:?}") };
        for words in
            ["warning: ", "2 files are not used", "stray.nii.gz (no channel", "gone_0000.nii.gz (a link"]
        {
            assert!(line.contains(words), "{words:?} in {line}");
        }
    }
    let output = place.run("fingerprint -d 7 --clean --progress json");
    let records = text(&output.stdout);
    let of_them: Vec<&str> = records.lines().filter(|line| line.contains("not used")).collect();
    assert!(of_them.len() == 1 && of_them[0].contains("\"event\":\"warning\""), "{records}");

    // The check names each, and calls the link a fault.
    let output = place.run("verify -d 7");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a link to a file that does not exist"), "{said}");
}

#[test]
fn what_the_check_of_a_dataset_lists_is_not_said_again() {
    let place = Place::new();
    let images = place.path("raw").join(DATASET).join("imagesTr");
    fs::copy(images.join("ball_000_0000.nii.gz"), images.join("stray.nii.gz")).unwrap();
    let said = lines(&place, "plan-and-preprocess -d 7 -c 2d --verify_dataset_integrity", "stray.nii.gz");
    assert!(said.len() == 1 && said[0].starts_with("warning"), "{said:?}");
}

#[test]
fn channels_and_endings_that_are_not_as_expected_are_one_line_each() {
    let place = Place::new();
    let images = place.path("raw").join(DATASET).join("imagesTr");
    fs::rename(images.join("ball_000_0000.nii.gz"), images.join("ball_000_0003.nii.gz")).unwrap();
    fs::copy(images.join("ball_001_0000.nii.gz"), images.join("other_0000.NII.GZ")).unwrap();
    for command in ["plan-and-preprocess -d 7 -c 2d 3d_fullres --clean", "overlay -d 7 --use_raw -o pictures"]
    {
        let said = lines(&place, command, "case ball_000: its channels are numbered 3, expected 0;");
        assert!(said.len() == 1 && said[0].starts_with("warning: "), "{command}: {said:?}");
        let said = lines(
            &place,
            command,
            "1 file is not used: other_0000.NII.GZ (ending .NII.GZ instead of .nii.gz)",
        );
        assert!(said.len() == 1 && said[0].starts_with("warning: "), "{command}: {said:?}");
    }
    let output = place.run("verify -d 7");
    let said = text(&output.stderr);
    assert!(
        said.contains("the ending is .NII.GZ, but dataset.json has .nii.gz; the file is not used"),
        "{said}"
    );
}

#[test]
fn training_too_early_says_what_to_run() {
    let place = Place::new();
    let refused = |command: &str, words: &[&str]| {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        for words in words {
            assert!(said.contains(words), "{words:?} in {said}");
        }
    };
    let plan = format!("nnunet plan-and-preprocess -d {DATASET}");
    refused("train 7 3d_fullres 0", &["has not been planned yet", &plan]);
    refused("preprocess -d 7", &["has not been planned yet", &plan]);
    refused("plan -d 7 -preprocessor_name Mine", &["preprocessor_name", "\"Mine\"", "DefaultPreprocessor"]);
    place.succeed("plan-and-preprocess -d 7 --no_pp");
    let preprocess = format!("nnunet preprocess -d {DATASET}");
    refused("train 7 3d_fullres 0", &["nnUNetPlans_3d_fullres: no such folder", &preprocess]);
    refused("train 7 3d_fullres 0 -p nnUNetPlan", &["did you mean nnUNetPlans?"]);
    refused("explain -d 7 -p other", &["has the plans nnUNetPlans"]);
    refused("preprocess -d 7 -c 3d-fullres", &["did you mean `3d_fullres`?"]);
    refused("preprocess -d 7 -c 3d_lowres", &["`3d_lowres` is not in the plans"]);
    // Those of the default are not all in every dataset's plans.
    assert_eq!(lines(&place, "preprocess -d 7", "3d_lowres is not in nnUNetPlans").len(), 1);
}
