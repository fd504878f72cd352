//! What is skipped, assumed or refused says so: one line for each, in every verb and for machines.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use common::{DATASET, Place, text};
use nnunet_image_io::nifti;
use nnunet_testkit::phantom::{NiftiFile, Voxels};

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

/// The one warning with these words in the records of `command`.
fn warned_once(place: &Place, command: &str, words: &[&str]) {
    let output = place.run(&format!("{command} --progress json"));
    let (said, records) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{command}: {said}");
    let of_them: Vec<&str> = records.lines().filter(|line| line.contains(words[0])).collect();
    let [record] = of_them.as_slice() else { panic!("{command}: {records}") };
    assert!(record.contains("\"event\":\"warning\""), "{record}");
    words.iter().for_each(|words| assert!(record.contains(words), "{words:?} in {record}"));
}

#[test]
fn segmentations_that_lie_elsewhere_and_labels_that_are_not_declared_are_one_line() {
    let place = Place::new();
    let labels = place.path("raw").join(DATASET).join("labelsTr");
    let (gt, pred) = (place.path("gt"), place.path("pred"));
    fs::create_dir(&gt).unwrap();
    fs::create_dir(&pred).unwrap();
    fs::copy(labels.join("ball_000.nii.gz"), gt.join("a.nii.gz")).unwrap();
    let mut image = nifti::read(gt.join("a.nii.gz")).unwrap();
    image.geometry.spacing[0] *= 2.0;
    let voxels: Vec<u8> = image.volume.data().iter().map(|&label| label as u8).collect();
    let mut volume = nnunet::volume::Volume::new(image.volume.shape(), voxels).unwrap();
    nifti::write_labels(pred.join("a.nii.gz"), &volume, &image.geometry).unwrap();
    warned_once(
        &place,
        "evaluate gt pred -l 1 2",
        &["spacing [", "pred/a.nii.gz", "gt/a.nii.gz", "check that they"],
    );
    // The same place: nothing to say.
    assert!(lines(&place, "evaluate gt gt -l 1 2", "warning").is_empty());

    volume.data_mut()[7] = 77;
    image.geometry.spacing[0] /= 2.0;
    let label = labels.join("ball_000.nii.gz");
    nifti::write_labels(&label, &volume, &image.geometry).unwrap();
    place.succeed("plan-and-preprocess -d 7 --no_pp");
    warned_once(
        &place,
        "preprocess -d 7 -c 2d 3d_fullres",
        &["values 77", "ball_000.nii.gz", "does not declare"],
    );
}

#[test]
fn limits_of_the_process_count_as_memory() {
    let place = Place::new();
    let images = place.path("raw").join(DATASET).join("imagesTr");
    // A header alone says how large the case is.
    NiftiFile::new([1500; 3], [1.0; 3], Voxels::U8(vec![])).write(images.join("ball_000_0000.nii.gz"));
    let program = place.program("fingerprint -d 7");
    let mut shell = std::process::Command::new("sh");
    shell
        .arg("-c")
        .arg("ulimit -v 8000000; exec \"$0\" \"$@\"")
        .arg(program.get_program())
        .args(program.get_args());
    shell.current_dir(place.folder.path());
    for (key, value) in program.get_envs() {
        shell.env(key, value.unwrap());
    }
    let output = shell.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("that the limit of the address space leaves (ulimit -v): ball_000 needs"),
        "{said}"
    );
}

#[test]
fn misspelt_flags_and_folders_that_are_no_predictions_say_what_was_meant() {
    let place = Place::new();
    let refused = |command: &str, code: i32, words: &[&str]| {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command}: {said}");
        words.iter().for_each(|words| assert!(said.contains(words), "{words:?} in {said}"));
        assert!(!said.contains("?."), "{said}");
    };
    refused("predict --hlep", 2, &["did you mean --help?"]);
    refused("--hlep", 2, &["did you mean --help?"]);
    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("file"), "").unwrap();
    for verb in ["determine-postprocessing -ref empty -i", "apply-postprocessing -pp_pkl_file file -o out -i"]
    {
        refused(&format!("{verb} nowhere"), 1, &["nowhere: no such folder", "`nnunet predict`"]);
        refused(&format!("{verb} empty"), 1, &["empty: no dataset.json in this folder", "`nnunet predict`"]);
        refused(&format!("{verb} file"), 1, &["file: not a folder", "`nnunet predict`"]);
    }
}

#[cfg(unix)]
#[test]
fn an_output_that_cannot_be_written_is_found_before_the_work() {
    let place = Place::new();
    fs::create_dir(place.path("gt")).unwrap();
    std::os::unix::fs::symlink("nowhere/summary.json", place.path("link")).unwrap();
    // The folders are empty, which is found only afterwards.
    let said = text(&place.run("evaluate gt gt -l 1 -o link").stderr);
    assert!(
        said.contains("link: this file cannot be written") && said.contains("whose folder does not exist"),
        "{said}"
    );
}
