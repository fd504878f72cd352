//! `doctor` and `devices`.

use serde_json::Value;

use super::common::{DATASET, text};
use super::place_with_model;

#[test]
fn the_report_tells_set_missing_and_unwritable_folders_apart() {
    let place = place_with_model();
    std::fs::write(place.path("file"), "").unwrap();
    let mut command = place.program("doctor --json --preprocessed file/pre --threads 1");
    // `--threads` is no flag of it.
    assert_eq!(command.output().unwrap().status.code(), Some(2));
    command = place.program("doctor --json --preprocessed file/pre");
    command.env("nnUNet_compile", "t").env("NNUNET_CPU_LEVEL", "portable");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    let folders = found["folders"].as_array().unwrap();
    let states: Vec<_> =
        folders.iter().map(|f| (f["exists"].as_bool().unwrap(), f["writable"].as_bool().unwrap())).collect();
    assert_eq!(states, [(true, true), (false, false), (true, true)]);
    assert_eq!(folders[0]["datasets"], 1);
    assert!(folders[1]["problem"].as_str().unwrap().contains("file"));
    if cfg!(target_os = "linux") {
        assert!(folders[0]["file_system"].is_string() && folders[0]["free_bytes"].is_u64(), "{folders:?}");
        assert!(found["memory"]["total_bytes"].is_u64());
    }
    assert_eq!(found["cpu"]["level"], "portable");
    let environment = found["environment"].as_array().unwrap();
    let recognised =
        |name: &str| environment.iter().find(|v| v["name"] == name).unwrap()["recognised"].as_bool().unwrap();
    assert!(recognised("nnUNet_raw") && !recognised("nnUNet_compile"));
    assert_eq!(found["models"][0]["dataset"], DATASET);
    assert_eq!(found["models"][0]["loads"], true, "{}", found["models"]);
    assert!(found["devices"].as_array().unwrap().iter().any(|device| device["name"] == "cpu"));
    let findings = found["findings"].as_array().unwrap();
    let has = |kind: &str, words: &str| {
        findings.iter().any(|f| f["kind"] == kind && f["text"].as_str().unwrap().contains(words))
    };
    assert!(has("broken", "nnUNet_preprocessed: file/pre: files cannot be written there"), "{findings:?}");
    assert!(!has("broken", "nnUNet_raw"), "{findings:?}");
}

#[test]
fn a_damaged_model_and_a_folder_that_is_not_set_are_named_in_the_text() {
    let place = place_with_model();
    let checkpoint = place.path("res").join(DATASET).join(super::MODEL).join("fold_0/checkpoint_final.pth");
    std::fs::write(&checkpoint, "damaged").unwrap();
    let output = place.program("doctor").env_remove("nnUNet_raw").output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success());
    assert!(said.contains("missing: nnUNet_raw: not set"), "{said}");
    assert!(
        said.contains("broken: model Dataset007_Balls/nnUNetTrainer__tiny__3d_fullres cannot predict"),
        "{said}"
    );
    assert!(said.contains("checkpoint_final.pth") && said.contains("CPU level: "), "{said}");
}

#[test]
fn devices_are_listed_the_best_first() {
    let place = place_with_model();
    // No place has libtorch: the devices that need it say so, with what gets it.
    let run = |words: &str| {
        let mut program = place.program(words);
        let output = program.env("NNUNET_LIBTORCH", place.path("nowhere")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = run("devices");
    let lines: Vec<&str> = said.lines().collect();
    let starts = [
        "cuda: NVIDIA cards",
        "mps: the GPU",
        "cpu: the CPU: threads ",
        "torch-cpu: the CPU through libtorch",
    ];
    assert_eq!(lines.len(), starts.len(), "{said}");
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{said}");
    assert!(
        lines[3].contains("cannot be used: no libtorch found; looked at: ") && lines[3].contains("nowhere"),
        "{said}"
    );
    assert!(lines[3].contains("pip install torch") && lines[3].contains("--libtorch"), "{said}");
    let list: Value = serde_json::from_str(&run("devices --json")).unwrap();
    assert_eq!((&list[2]["name"], &list[2]["usable"]), (&Value::from("cpu"), &Value::from(true)));
    assert_eq!(list[3]["usable"], false);
}
