//! `predict` as a user calls it, on a tiny trained model: what it takes, what it refuses, and what is left
//! when it is killed.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Place, files_below, text};
use nnunet_checkpoint::Checkpoint;
use nnunet_image_io::{nifti, nrrd};
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};

/// A place with a copy of the model in `model` and `cases` images in `images`.
fn place(cases: u32) -> Place {
    let place = Place::new();
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        let target = place.path("model").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(ball_model().join(file), target).unwrap();
    }
    for case in 0..cases {
        let name = format!("new_{case}");
        let labels = place.path("labels");
        PhantomDataset::default().write_case(&place.path("images"), &labels, &name, 100 + case);
    }
    place
}

fn refused(output: &Output, said: &[&str]) {
    let text = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in said {
        assert!(text.contains(words), "{words:?} in {text}");
    }
}

fn labels(path: &Path) -> Vec<f32> {
    nifti::read(path).unwrap().volume.into_data()
}

#[test]
fn a_folder_a_file_and_a_list_give_the_same() {
    let place = place(2);
    let out = place.run("predict -i images -o whole -m model --disable_tta --verbose");
    let said = text(&out.stderr);
    for words in ["tiles of [", "memory of a pass: ", "memory: at most about"] {
        assert!(out.status.success() && said.contains(words), "{words:?} in {said}");
    }
    let expected = labels(&place.path("whole/new_1.nii.gz"));
    let truth = labels(&place.path("labels/new_1.nii.gz"));
    let equal = expected.iter().zip(&truth).filter(|(a, b)| a == b).count();
    assert!(equal as f64 > 0.9 * truth.len() as f64, "{equal} of {}", truth.len());

    place.succeed("predict -i images/new_1_0000.nii.gz -o file -m model --disable_tta");
    std::fs::copy(place.path("images/new_1_0000.nii.gz"), place.path("scan.nii.gz")).unwrap();
    place.succeed("predict -i scan.nii.gz -o plain -m model --disable_tta");
    for file in ["file/new_1.nii.gz", "plain/scan.nii.gz"] {
        assert_eq!(labels(&place.path(file)), expected, "{file}");
    }
    assert!(!place.path("file/new_0.nii.gz").exists());

    // Parts share the cases out.
    place.succeed("predict -i images -o parts -m model --disable_tta -num_parts 2 -part_id 1");
    assert!(place.path("parts/new_1.nii.gz").exists() && !place.path("parts/new_0.nii.gz").exists());
}

#[test]
fn what_cannot_be_predicted_is_refused_with_its_reason() {
    let place = place(1);
    let predict = |words: &str| place.run(&format!("predict -o out --disable_tta {words}"));
    // Two channels for a model of one, in a list and as a case of a folder.
    std::fs::create_dir(place.path("two")).unwrap();
    for channel in ["0000", "0001"] {
        let target = place.path("two").join(format!("a_{channel}.nii.gz"));
        std::fs::copy(place.path("images/new_0_0000.nii.gz"), target).unwrap();
    }
    let channels = "2 image channels, the plans expect 1";
    refused(&predict("-i two -m model"), &["case a", channels]);
    refused(&predict("-i two/a_0000.nii.gz two/a_0001.nii.gz -m model"), &["case a", channels]);
    refused(&predict("-i two/a_0001.nii.gz two/a_0000.nii.gz -m model"), &["order of channels"]);
    std::fs::write(place.path("image.nrrd"), "NRRD0004\n").unwrap();
    refused(&predict("-i image.nrrd -m model"), &["image.nrrd", ".nii.gz"]);
    refused(&predict("-i nowhere -m model"), &["nowhere"]);

    // A header with a spacing of 0; the other case is predicted all the same.
    std::fs::create_dir(place.path("flat")).unwrap();
    let voxels = Voxels::I16((0..16 * 16 * 16).map(|i| i % 97).collect());
    NiftiFile::new([16, 16, 16], [1.0, 0.0, 1.0], voxels).write(place.path("flat/zero_0000.nii.gz"));
    std::fs::copy(place.path("images/new_0_0000.nii.gz"), place.path("flat/good_0000.nii.gz")).unwrap();
    refused(&predict("-i flat -m model"), &["zero", "three independent axes", "1 of 2 cases"]);
    assert!(place.path("out/good.nii.gz").exists() && !place.path("out/zero.nii.gz").exists());

    // The model.
    refused(&predict("-i images -m model -f 3"), &["fold_3", "fold_0/checkpoint_final.pth", "-f"]);
    refused(&predict("-i images -m model -chk checkpoint_best.pth"), &["checkpoint_best.pth", "-chk"]);
    let checkpoint = place.path("model/fold_0/checkpoint_final.pth");
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    refused(&predict("-i images -m model"), &["checkpoint_final.pth"]);
    std::fs::write(&checkpoint, &bytes).unwrap();
    std::fs::rename(place.path("model/plans.json"), place.path("plans.json")).unwrap();
    refused(&predict("-i images -m model"), &["plans.json"]);
    // Plans of another network: every tensor that does not fit is listed.
    let plans = std::fs::read_to_string(place.path("plans.json")).unwrap();
    let mut wider: serde_json::Value = serde_json::from_str(&plans).unwrap();
    let features =
        &mut wider["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"];
    features[0] = serde_json::json!(9);
    std::fs::write(place.path("model/plans.json"), wider.to_string()).unwrap();
    refused(
        &predict("-i images -m model"),
        &["tensors do not fit", "encoder.stages.0.0.convs.0.conv.weight: [", "in the network", "decoder"],
    );
}

#[test]
fn no_cases_are_a_loud_warning() {
    let place = place(0);
    std::fs::create_dir(place.path("images")).unwrap();
    std::fs::write(place.path("images/scan.nii.gz"), "").unwrap();
    std::fs::write(place.path("images/notes.txt"), "").unwrap();
    let output = place.run("predict -i images -o out -m model");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for words in ["warning", "no cases", "CASE_0000.nii.gz", "scan.nii.gz", "--strict"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    refused(&place.run("predict -i images -o out -m model --strict"), &["no cases", "scan.nii.gz"]);
}

#[test]
fn trainers_decide_the_mirroring() {
    let place = place(1);
    let checkpoint = place.path("model/fold_0/checkpoint_final.pth");
    let mut file = Checkpoint::read(&checkpoint).unwrap();
    assert_eq!(file.mirroring_axes, Some(vec![0, 1, 2]));
    let said = |words: &str| {
        let output = place.run(&format!("predict -i images -o out -m model {words}"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(said("").contains("8 mirrored passes per tile; --disable_tta is 8x faster"));
    assert!(!said("--disable_tta").contains("mirrored passes"));
    // A trainer that nobody here knows predicts with what its checkpoint says.
    file.trainer_name = "nnUNetTrainerOfMine".to_owned();
    file.write(&checkpoint).unwrap();
    let unknown = said("");
    assert!(unknown.contains("trainer nnUNetTrainerOfMine is not known here"), "{unknown}");
    assert!(unknown.contains("8 mirrored passes"), "{unknown}");
    file.trainer_name = "nnUNetTrainerNoMirroring".to_owned();
    file.mirroring_axes = None;
    file.write(&checkpoint).unwrap();
    let without = said("");
    assert!(!without.contains("mirrored passes") && !without.contains("not known"), "{without}");
}

#[test]
fn memory_is_stated_and_kept_or_refused() {
    let place = place(3);
    place.succeed("predict -i images -o free -m model --disable_tta -npp 3 -nps 2");
    let tight = place.run("predict -i images -o tight -m model --disable_tta --max-ram 0.001");
    refused(&tight, &["limit of 1 MB", "new_0 needs", "new_2 needs", "--max-ram"]);
    assert!(!place.path("tight/new_0.nii.gz").exists());
    // Room for one case, not for all that a hundred threads would prepare.
    let said = text(&tight.stderr);
    let needs = |part: &str| part.split(" MB").next().unwrap().parse::<f64>().unwrap();
    let alone = said.split(" needs ").skip(1).map(needs).fold(0.0, f64::max);
    let limit = (alone + 1.0) / 1000.0;
    let narrow =
        place.run(&format!("predict -i images -o narrow -m model --disable_tta -npp 100 --max-ram {limit}"));
    let said = text(&narrow.stderr);
    assert!(narrow.status.success() && said.contains("one case after the other"), "{said}");
    for case in 0..3 {
        let name = format!("new_{case}.nii.gz");
        let (a, b) = (place.path("free").join(&name), place.path("narrow").join(&name));
        assert_eq!(labels(&a), labels(&b));
    }
    assert_eq!(place.run("predict -i images -o x -m model --max-ram none").status.code(), Some(2));
}

/// Whatever the format, a case that does not fit is refused before anything is written.
#[test]
fn memory_is_checked_beforehand_for_every_format() {
    let place = place(2);
    std::fs::create_dir(place.path("others")).unwrap();
    for case in 0..2 {
        let image = nifti::read(place.path(&format!("images/new_{case}_0000.nii.gz"))).unwrap();
        let path = place.path(&format!("others/new_{case}_0000.nrrd"));
        nrrd::write(&path, &image.volume, &image.geometry).unwrap();
    }
    let description = place.path("model/dataset.json");
    let json = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, json.replace(".nii.gz", ".nrrd")).unwrap();
    let tight = place.run("predict -i others -o out -m model --disable_tta --max-ram 0.001");
    refused(&tight, &["limit of 1 MB", "new_0 needs", "new_1 needs", "--max-ram"]);
    assert!(!place.path("out/new_0.nrrd").exists());
    let free = place.run("predict -i others -o out -m model --disable_tta");
    assert!(
        free.status.success() && text(&free.stderr).contains("largest case new_"),
        "{}",
        text(&free.stderr)
    );
    assert!(place.path("out/new_1.nrrd").exists());
}

#[cfg(unix)]
#[test]
fn a_killed_prediction_goes_on_and_leaves_no_halves() {
    let place = place(6);
    // Small steps, so that the cases left at the kill take longer than the kill.
    let predict = "predict -i images -m model -step_size 0.2";
    place.succeed(&format!("{predict} -o whole"));
    let mut child = place
        .program(&format!("{predict} -o out --progress json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if line.unwrap().contains("(4 of 6)") {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    let done: Vec<PathBuf> = files_below(&place.path("out"))
        .into_iter()
        .filter(|f| f.to_string_lossy().contains("/new_"))
        .collect();
    assert!(!done.is_empty() && done.len() < 6, "{done:?}");
    for file in &done {
        assert_eq!(labels(file), labels(&place.path("whole").join(file.file_name().unwrap())));
    }
    // What a kill in the middle of a file leaves; a part of another run is not touched.
    std::fs::write(place.path("out/.new_5.nii.gz.12345-0.tmp"), "half").unwrap();
    std::fs::write(place.path("out/.other.nii.gz.12345-0.tmp"), "half").unwrap();
    let output = place.run(&format!("{predict} -o out --continue_prediction"));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{} were there already", done.len())), "{said}");
    for case in 0..6 {
        let name = format!("new_{case}.nii.gz");
        assert_eq!(labels(&place.path("out").join(&name)), labels(&place.path("whole").join(&name)));
    }
    let hidden: Vec<_> = files_below(&place.path("out"))
        .into_iter()
        .filter(|f| f.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(hidden, [place.path("out/.other.nii.gz.12345-0.tmp")]);
}

#[test]
fn quality_control_lists_the_cases_to_look_at_first() {
    let place = place(1);
    // A case that is nothing but noise.
    let noise = (0..20 * 24 * 22).map(|i: i32| (i * 7919 % 97) as i16).collect();
    NiftiFile::new([20, 24, 22], [1.0; 3], Voxels::I16(noise)).write(place.path("images/noise_0000.nii.gz"));
    // A model of a dataset whose segmentations are here.
    let model = place.path("res").join(common::DATASET).join("nnUNetTrainer__nnUNetPlans__3d_fullres");
    std::fs::create_dir_all(model.parent().unwrap()).unwrap();
    std::fs::rename(place.path("model"), &model).unwrap();
    let output = place.run("predict -i images -o out -d 7 -c 3d_fullres --disable_tta --qc");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("volumes of 5 training cases are kept in"), "{said}");
    assert!(said.contains("nothing to compare: one fold without mirrored passes"), "{said}");
    let read = |path: &str| std::fs::read_to_string(place.path(path)).unwrap();
    let table = read("out/qc.tsv");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.iter().map(|line| line[0]).collect::<Vec<_>>(), ["case", "noise", "new_0"], "{table}");
    assert!(lines[0].contains(&"shell ml") && lines[1].last().unwrap().contains("shell"), "{table}");
    assert_eq!(std::fs::read_to_string(model.join("label_volumes.tsv")).unwrap().lines().count(), 6);

    // The report of an evaluation shows the scores.
    std::fs::rename(place.path("images"), place.path("images_all")).unwrap();
    std::fs::remove_file(place.path("out/noise.nii.gz")).unwrap();
    place.succeed("evaluate labels out -l 1 2");
    place.succeed("report evaluation out/summary.json");
    let page = read("out/report.html");
    assert!(page.contains("Warning score") && page.contains("Quality control"), "there is the score");
    assert!(
        page.len() < 1_000_000 && !page.contains("viewer-canvas"),
        "no volumes unless they are asked for"
    );
    place.succeed("report evaluation out/summary.json -images images_all --viewer -o viewer.html");
    let page = read("viewer.html");
    assert!(page.contains("viewer-canvas") && page.contains("connect-src data: blob:"));
    assert!((2_000_000..5_000_000).contains(&page.len()), "{}", page.len());
}
