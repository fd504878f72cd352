//! The program as a user calls it: exit statuses, messages, and the whole way on a tiny phantom.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{DATASET, Place, files_below, text};
use nnunet_checkpoint::{Checkpoint, write_safetensors};
use serde_json::Value;

#[test]
fn wrong_usage_ends_with_2_and_says_why() {
    let place = Place::new();
    for (words, said) in [
        ("", "no verb given"),
        ("fly", "unknown verb \"fly\""),
        ("plan", "the argument -d is required"),
        ("train 7 3d_fullres", "the following arguments are required: FOLD"),
        ("train 7 3d_fullres x", "neither a number"),
        ("train 7 3d_fullres 0 --epochs 0", "expected a number of at least 1"),
        ("train 7 3d_fullres 0 -device cudo", "this build has no cudo (did you mean cuda?)"),
        ("train 7 3d_fullres 0 --c -pretrained_weights x", "exclude each other"),
        ("predict -i a -o b", "name the model"),
        ("predict -i a -o b -m c -num_parts 2 -part_id 2", "parts count from 0"),
        ("ensemble -o out", "the argument -i is required"),
        ("explain", "the argument -d is required"),
        ("move-plans -s 7 -sp nnUNetPlans", "the argument -t is required"),
        ("apply-postprocessing -i a -o b", "the argument -pp_pkl_file is required"),
        ("find-best-configuration 7 -f all", "expected the number of a fold"),
        ("install-model x.zip --sha256 12", "expected 64 hexadecimal digits"),
        ("plan -d 7 --gpu_memory 8", "unrecognized argument: --gpu_memory"),
        ("convert-msd", "the argument -i is required"),
        ("convert-v1 old", "the following arguments are required: NAME"),
        ("preprocess -d 7 --num-parts 2", "--num-parts and --part-id are given together"),
        ("fingerprint -d 7 --num-parts 2 --part-id 2", "part 2 of 2: parts count from 0"),
        ("preprocess -d 7 --max-ram 0", "a number of gigabytes above 0"),
        ("report", "the following arguments are required: KIND"),
        ("report fish", "argument KIND: found \"fish\", expected dataset, evaluation, training or compare"),
        ("report dataset", "the argument -d is required"),
        ("report dataset 7", "give the dataset with -d"),
        ("report training", "report training: expected the FOLDER"),
        ("report evaluation s.json -d 7", "argument -d: not for report evaluation, only for dataset"),
        ("verify -d 7 --threads 0", "expected a number of at least 1"),
        ("verify -d 7 --progress loud", "expected bar, plain, json, slicer or none"),
    ] {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(text(&output.stderr).contains(said), "{words}: {}", text(&output.stderr));
    }
    assert!(place.succeed("--help").contains("plan-and-preprocess"));
    assert!(place.succeed("train --help").contains("--iterations-per-epoch"));
    assert!(place.succeed("--version").starts_with("nnunet "));
}

#[test]
fn failures_end_with_1_and_say_what_to_do() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("raw/Dataset008_Other")).unwrap();
    std::fs::create_dir_all(place.path("raw/Dataset008_Twin")).unwrap();
    std::fs::create_dir_all(place.path("raw/Dataset009_Old")).unwrap();
    let old = r#"{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"}, "numTraining": 1}"#;
    std::fs::write(place.path("raw/Dataset009_Old/dataset.json"), old).unwrap();
    std::fs::write(place.path("file"), "").unwrap();
    for (words, said) in [
        ("plan -d 70", "did you mean"),
        ("plan -d Dataset007_Bals", "did you mean Dataset007_Balls?"),
        ("plan -d 8", "Dataset008_Twin"),
        ("verify -d 9", "modality"),
        ("plan -d 7", "fingerprint"),
        ("explain -d 7", "nnUNetPlans.json"),
        ("move-plans -s 7 -t 7 -sp nnUNetPlans", "plan the dataset whose plans are to be moved first"),
        ("plan -d 7 -pl NoPlanner", "planner \"NoPlanner\" is not known"),
        ("train 7 3d_fullres 0", "nnUNetPlans.json"),
        ("train 7 3d_fullres 0 -tr MyTrainer", "nnUNetTrainer_Nepochs"),
        ("predict -i raw -o out -m nowhere", "nowhere"),
        ("fingerprint -d 7 --preprocessed file", "file"),
        ("evaluate raw nowhere -l 1", "nowhere"),
        ("ensemble -i raw nowhere -o out", "no .npz files"),
        ("find-best-configuration 7", "no such model"),
        ("accumulate-crossval-results 7 -c 3d_fullres", "the folder of a trained model"),
        ("report evaluation nowhere.json", "nowhere.json"),
        ("report training raw", "neither a checkpoint nor folders fold_0"),
        ("report dataset -d 7 -o file/report.html", "file/report.html"),
        ("determine-postprocessing -i raw -ref raw", "raw: no dataset.json in this folder"),
        ("convert-msd -i raw", "imagesTr, labelsTr, dataset.json missing"),
        ("convert-v1 raw Dataset010_X", "imagesTr, labelsTr, dataset.json missing"),
        ("install-model nowhere.zip", "nowhere.zip"),
        ("install-model file", "no zip archive"),
        ("export-model -d 7 -o model.zip", "no such model"),
    ] {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{words}: {}", text(&output.stderr));
    }
}

/// Names that dataset.json could not hold are refused; folders in the environment may have them.
#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"r\xffw");
    let output = place.program("predict -o out -m model -i").arg(name).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains(r#"argument "r\xFFw" is not valid UTF-8"#), "{said}");

    std::fs::rename(place.path("raw"), place.folder.path().join(name)).unwrap();
    let mut verify = place.program("verify -d 7");
    let output = verify.env("nnUNet_raw", place.folder.path().join(name)).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn with_json_every_line_of_stdout_is_a_record() {
    let place = Place::new();
    place.prepare();
    let labels = format!("raw/{DATASET}/labelsTr");
    for words in [
        "verify -d 7".to_owned(),
        "plan -d 7".to_owned(),
        format!("evaluate {labels} {labels} -l 1 2"),
        "train 7 3d_fullres 0 -p tiny --epochs 2 --iterations-per-epoch 2".to_owned(),
    ] {
        let said = place.succeed(&format!("{words} --progress json"));
        let records = said.lines().map(serde_json::from_str::<Value>);
        let events: Vec<_> =
            records.map(|record| record.unwrap()["event"].as_str().unwrap().to_owned()).collect();
        assert!(!events.is_empty(), "{words}");
    }
}

#[cfg(unix)]
#[test]
fn outputs_that_are_no_regular_files_are_written_through() {
    let place = Place::new();
    let labels = format!("raw/{DATASET}/labelsTr");
    let evaluate = |output: &str| place.succeed(&format!("evaluate {labels} {labels} -l 1 -o {output}"));
    evaluate("/dev/null");
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    std::os::unix::fs::symlink("elsewhere.json", place.path("link.json")).unwrap();
    evaluate("link.json");
    assert!(std::fs::symlink_metadata(place.path("link.json")).unwrap().is_symlink());
    let summary = std::fs::read_to_string(place.path("elsewhere.json")).unwrap();
    assert!(summary.contains("foreground_mean"), "{summary}");
    assert!(evaluate("/dev/stdout").contains("\"foreground_mean\""));
}

#[test]
fn every_fault_of_a_dataset_is_listed() {
    let place = Place::new();
    let raw = place.path("raw").join(DATASET);
    std::fs::remove_file(raw.join("labelsTr/ball_000.nii.gz")).unwrap();
    std::fs::copy(raw.join("labelsTr/ball_001.nii.gz"), raw.join("labelsTr/stray.nii.gz")).unwrap();
    let image = raw.join("imagesTr/ball_002_0000.nii.gz");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(raw.join("imagesTr/ball_003_0000.nii.gz"), "not an image").unwrap();
    let output = place.run("verify -d 7");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for name in ["ball_000", "stray", "ball_002", "ball_003"] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert!(said.contains("3 faults and 1 warnings"), "the reference goes on with a label too many: {said}");
}

#[test]
fn faults_that_are_safe_to_repair_are_repaired() {
    let place = Place::new();
    let json = place.path("raw").join(DATASET).join("dataset.json");
    let text_before = std::fs::read_to_string(&json).unwrap();
    std::fs::write(&json, text_before.replace("\"numTraining\": 5", "\"numTraining\": 99")).unwrap();
    let said = text(&place.run("verify -d 7").stderr);
    assert!(said.contains("error  ") && said.contains("numTraining is 99, but there are 5 cases"), "{said}");
    let output = place.run("verify -d 7 --repair");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("repaired  ") && said.contains("1 repaired, no faults"), "{said}");
    place.succeed("verify -d 7");
    assert!(json.with_file_name("dataset.json.before_repair").is_file());
}

#[test]
fn links_answer_to_the_names_of_the_reference() {
    let place = Place::new();
    place.succeed("install-links bin");
    let link = place.path("bin/nnUNetv2_extract_fingerprint");
    let output = Command::new(link)
        .args(["-d", "7", "--no_pbar"])
        .env("nnUNet_raw", place.path("raw"))
        .env("nnUNet_preprocessed", place.path("pre"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(place.path("pre").join(DATASET).join("dataset_fingerprint.json").is_file());
    place.succeed("nnUNetv2_plan_experiment -d 7 -overwrite_plans_name mine");
    assert!(place.path("pre").join(DATASET).join("mine.json").is_file());
    place.succeed("nnUNetv2_move_plans_between_datasets -s 7 -t 7 -sp mine -tp moved");
    assert!(place.path("pre").join(DATASET).join("moved.json").is_file());

    let explained = place.succeed("explain -d 7 -p moved");
    assert!(
        explained.contains("\nconfigurations.3d_fullres\n")
            && explained.contains("from fingerprint: spacings")
    );
    assert!(!explained.contains("the planner makes"), "{explained}");
    let listed: Value = serde_json::from_str(&place.succeed("explain -d 7 -p mine --json")).unwrap();
    assert!(listed.as_array().unwrap().iter().all(|e| e["rule"].is_string() && e["source"].is_string()));
    let more = place.succeed("explain -d 7 -p mine -gpu_memory_target 0.01");
    assert!(more.contains("patch_size: [") && more.contains("the planner makes"), "{more}");
}

#[test]
fn a_full_disk_leaves_no_half_written_files() {
    let place = Place::new();
    place.succeed("plan-and-preprocess -d 7 --no_pp");
    let program = place.program("preprocess -d 7 -c 3d_fullres");
    // Files beyond a few kilobytes cannot be written, as on a full disk; the signal is not delivered.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"").arg(program.get_program());
    shell.args(program.get_args()).current_dir(place.folder.path());
    for (key, value) in program.get_envs() {
        shell.env(key, value.unwrap());
    }
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("ball_000") && said.contains(".b2nd"), "{said}");
    let stored = files_below(&place.path("pre").join(DATASET).join("nnUNetPlans_3d_fullres"));
    assert!(stored.is_empty(), "{stored:?}");
}

#[test]
fn from_scans_to_an_evaluated_segmentation_with_an_interruption() {
    let place = Place::new();
    place.prepare();
    let train = "train 7 3d_fullres 0 -p tiny --iterations-per-epoch 150 --threads 2";
    place.succeed(&format!("{train} --epochs 2"));

    // The same training under another name, interrupted in the middle of an epoch and continued.
    let other = format!("{train} -tr nnUNetTrainer_2epochs --results {}", place.path("again").display());
    let mut child = place
        .program(&format!("{other} --progress json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut last = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        last = record["done"].as_u64().unwrap_or(last);
        if record["event"] == "advanced" && record["done"] == 20 {
            let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(signal.success());
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!((20..300).contains(&last), "stopped after {last} of 300 iterations");
    let model =
        |results: &str| place.path(results).join(DATASET).join("nnUNetTrainer_2epochs__tiny__3d_fullres");
    let latest = model("again").join("fold_0/checkpoint_latest.pth");
    assert!(latest.is_file());
    place.succeed(&format!("{other} --c --recompute"));
    assert!(!latest.exists(), "a complete training keeps the final checkpoint only");
    let weights = |results: &str| {
        Checkpoint::read(&model(results).join("fold_0/checkpoint_final.pth")).unwrap().weights
    };
    assert!(
        weights("res") == weights("again"),
        "neither an interruption nor recomputation changes the result"
    );

    let fold = model("res").join("fold_0");
    for file in ["progress.png", "debug.json", "checkpoint_best.pth", "validation/summary.json"] {
        assert!(fold.join(file).is_file(), "{file}");
    }
    assert!(files_below(&fold).iter().any(|f| f.to_string_lossy().contains("training_log_")));

    let images = place.path("raw").join(DATASET).join("imagesTr");
    place.succeed(&format!(
        "predict -i {} -o out -d 7 -c 3d_fullres -p tiny -tr nnUNetTrainer_2epochs --disable_tta",
        images.display()
    ));
    let references = place.path("raw").join(DATASET).join("labelsTr");
    let table = place.succeed(&format!(
        "evaluate {} out -djfile out/dataset.json -pfile out/plans.json",
        references.display()
    ));
    assert!(table.contains("mean of foreground"), "{table}");
    let summary: String = std::fs::read_to_string(place.path("out/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary.replace("NaN", "null")).unwrap();
    let dice = summary["foreground_mean"]["Dice"].as_f64().unwrap();
    assert!(dice > 0.5, "300 iterations of a tiny network find the balls: {dice}");

    // Nothing to predict is loud, and a failure only if asked for.
    std::fs::create_dir_all(place.path("empty")).unwrap();
    let empty = format!("predict -i empty -o nothing -m {}", model("res").display());
    let output = place.run(&empty);
    assert!(output.status.success() && text(&output.stderr).contains("no cases"), "{}", text(&output.stderr));
    assert_eq!(place.run(&format!("{empty} --strict")).status.code(), Some(1));
    // A folder that cannot be made.
    std::fs::write(place.path("file"), "").unwrap();
    let output =
        place.run(&format!("predict -i {} -o file/x -m {}", images.display(), model("res").display()));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("file/x"), "{}", text(&output.stderr));
}

/// Weights in the format of PyTorch and as safetensors start the same training.
#[test]
fn a_training_starts_with_weights_of_either_format() {
    let place = Place::new();
    place.prepare();
    let train = "train 7 3d_fullres 0 -p tiny --epochs 1 --iterations-per-epoch 1 --threads 1";
    let weights = |words: &str, results: &str| {
        place.succeed(&format!("{train} {words} --results {}", place.path(results).display()));
        let model = place.path(results).join(DATASET).join("nnUNetTrainer_1epoch__tiny__3d_fullres");
        let file = model.join("fold_0/checkpoint_final.pth");
        (file.clone(), Checkpoint::read(&file).unwrap().weights)
    };
    let (file, trained) = weights("--seed 5", "first");
    let safetensors = place.path("first.safetensors");
    write_safetensors(&safetensors, &trained).unwrap();
    let start = |file: &Path| format!("--seed 6 -pretrained_weights {}", file.display());
    let (_, from_torch) = weights(&start(&file), "torch");
    let (_, from_safetensors) = weights(&start(&safetensors), "safetensors");
    assert!(from_torch == from_safetensors);
    let (_, anew) = weights("--seed 6", "anew");
    assert!(from_torch != anew, "the weights are used");

    std::fs::write(&safetensors, "no weights").unwrap();
    let output = place.run(&format!("{train} {} --results none", start(&safetensors)));
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("first.safetensors") && message.contains("a safetensors file"), "{message}");
}

#[test]
fn from_folds_to_a_postprocessed_choice_by_the_written_instructions() {
    let place = Place::new();
    place.prepare();
    for epochs in [2, 3] {
        for fold in [0, 1] {
            let options = format!("-p tiny --iterations-per-epoch 20 --threads 2 --epochs {epochs} --npz");
            place.succeed(&format!("train 7 3d_fullres {fold} {options}"));
        }
    }
    let trainers = "-tr nnUNetTrainer_2epochs nnUNetTrainer_3epochs";
    let table = place.succeed(&format!("find-best-configuration 7 -c 3d_fullres -p tiny {trainers} -f 0 1"));
    assert!(table.contains("best: ") && table.contains("ensemble___nnUNetTrainer_2epochs__tiny"), "{table}");
    let results = place.path("res").join(DATASET);
    let information = std::fs::read(results.join("inference_information.json")).unwrap();
    let information: Value = serde_json::from_slice(&information).unwrap();
    let all = information["all_results"].as_object().unwrap();
    assert_eq!(all.len(), 3);
    let largest = all.values().filter_map(Value::as_f64).fold(0.0, f64::max);
    let best = &information["best_model_or_ensemble"];
    assert_eq!(best["result_on_crossval_pre_pp"].as_f64(), Some(largest));
    assert!(best["result_on_crossval_post_pp"].as_f64().unwrap() >= largest);

    // The commands that were written are commands that work.
    let images = place.path("raw").join(DATASET).join("imagesTr");
    let text = std::fs::read_to_string(results.join("inference_instructions.txt")).unwrap();
    let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("nnunet ")).collect();
    assert!(commands.len() >= 2, "{text}");
    for command in commands {
        place.succeed(&command.replace("INPUT_FOLDER", &images.display().to_string()));
    }
    let references = place.path("raw").join(DATASET).join("labelsTr");
    let table = place.succeed(&format!("evaluate {} OUTPUT_FOLDER_PP -l 1", references.display()));
    assert!(table.contains("mean of foreground"), "{table}");
    // By itself as part of the choice, and as a verb of its own, on the same predictions.
    place.succeed(
        "accumulate-crossval-results 7 -c 3d_fullres -p tiny -tr nnUNetTrainer_3epochs -f 0 1 -o merged",
    );
    place.succeed(&format!("determine-postprocessing -i merged -ref {}", references.display()));
    place.succeed("apply-postprocessing -i merged -o again -pp_pkl_file merged/postprocessing.json");
    assert!(files_below(&place.path("merged/postprocessed")).len() >= 3);
}
