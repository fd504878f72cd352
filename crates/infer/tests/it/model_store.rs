//! Packing, installing and listing models, and archives that mean harm.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::hint::explain;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::DatasetName;
use nnunet_dataset::splits::Fold;
use nnunet_infer::model_store::{ExportRequest, Installed, export_model, install_model, installed_models};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const DATASET: &str = "Dataset811_Tiny";
const MODEL: &str = "Dataset811_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres";

/// Every file below `root` with its content, by its path.
fn content(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = PathBuf::from(path.file_name().unwrap());
            found.extend(content(&path).into_iter().map(|(file, bytes)| (name.join(file), bytes)));
        } else {
            found.push((path.file_name().unwrap().into(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A results folder with one model of two folds, an ensemble and the choice.
fn results(root: &Path) {
    let golden =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../nnunet/tests/golden/selection/labels/results"));
    let model = root.join(MODEL);
    for name in ["plans.json", "dataset.json"] {
        write(&model.join(name), &fs::read(golden.join(MODEL).join(name)).unwrap());
    }
    for fold in ["fold_0", "fold_1"] {
        write(&model.join(fold).join("checkpoint_final.pth"), fold.as_bytes());
        write(&model.join(fold).join("checkpoint_best.pth"), b"best");
        write(&model.join(fold).join("progress.png"), b"png");
        write(&model.join(fold).join("validation/summary.json"), b"{}");
        write(&model.join(fold).join("validation/c0.nii.gz"), b"image");
        write(&model.join(fold).join("validation/c0.npz"), b"probabilities");
    }
    write(&model.join("crossval_results_folds_0_1/postprocessing.pkl"), b"pkl");
    write(&model.join("crossval_results_folds_0_1/c0.nii.gz"), b"image");
    let ensembles = root.join(DATASET).join("ensembles");
    let name = |other: &str| format!("ensemble___nnUNetTrainer__nnUNetPlans__3d_fullres___{other}___0_1");
    for other in ["nnUNetTrainer__nnUNetPlans__2d", "nnUNetTrainer__nnUNetPlans__3d_fullres"] {
        write(&ensembles.join(name(other)).join("postprocessing.pkl"), b"pkl");
    }
    write(&root.join(DATASET).join("inference_information.json"), b"{}");
}

fn request() -> ExportRequest {
    ExportRequest {
        dataset: DatasetName::new(DATASET).unwrap(),
        configurations: vec!["3d_fullres".into()],
        trainer: "nnUNetTrainer".into(),
        plans: "nnUNetPlans".into(),
        folds: vec![Fold::Number(0), Fold::Number(1)],
        checkpoints: vec!["checkpoint_final.pth".into()],
        strict: true,
        crossval_predictions: false,
    }
}

fn export(request: &ExportRequest, results: &Path, zip: &Path) -> Result<Vec<String>, String> {
    export_model(request, results, zip, Ctx::new(&Silent, &Cancel::new())).map_err(|error| explain(&error))
}

fn install(zip: &Path, results: &Path, force: bool) -> Result<Installed, String> {
    install_model(zip, results, force, Ctx::new(&Silent, &Cancel::new())).map_err(|error| explain(&error))
}

#[test]
fn what_is_exported_is_installed() {
    let root = tempfile::tempdir().unwrap();
    let (from, to, zip) = (root.path().join("from"), root.path().join("to"), root.path().join("model.zip"));
    results(&from);
    let names = export(&request(), &from, &zip).unwrap();
    let ensemble = "ensembles/ensemble___nnUNetTrainer__nnUNetPlans__3d_fullres___\
                    nnUNetTrainer__nnUNetPlans__3d_fullres___0_1";
    let mut expected: Vec<String> = ["0", "1"]
        .iter()
        .flat_map(|fold| {
            ["checkpoint_final.pth", "validation/summary.json", "progress.png"]
                .map(|file| format!("{MODEL}/fold_{fold}/{file}"))
        })
        .collect();
    expected.extend(
        ["crossval_results_folds_0_1/postprocessing.pkl", "plans.json", "dataset.json"]
            .map(|file| format!("{MODEL}/{file}")),
    );
    expected.push(format!("{DATASET}/{ensemble}/postprocessing.pkl"));
    expected.push(format!("{DATASET}/inference_information.json"));
    assert_eq!(names, expected);

    let installed = install(&zip, &to, false).unwrap();
    assert_eq!(installed, Installed { models: vec![MODEL.into()], kept: Vec::new() });
    let wanted: Vec<_> = content(&from)
        .into_iter()
        .filter(|(path, _)| expected.contains(&path.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(wanted.len(), expected.len());
    assert_eq!(content(&to), wanted, "the files and nothing else");

    // Nothing is overwritten without being asked to.
    let message = install(&zip, &to, false).unwrap_err();
    assert!(message.contains(MODEL) && message.contains("allow them to be replaced"), "{message}");
    write(&to.join(MODEL).join("fold_0/checkpoint_final.pth"), b"mine");
    write(&to.join(MODEL).join("notes.txt"), b"mine");
    assert_eq!(install(&zip, &to, true).unwrap().models, [MODEL]);
    assert_eq!(content(&to), wanted);
    fs::remove_dir_all(to.join(MODEL)).unwrap();
    write(&to.join(DATASET).join("inference_information.json"), b"mine");
    let installed = install(&zip, &to, false).unwrap();
    assert_eq!(
        installed.kept,
        [format!("{DATASET}/{ensemble}"), format!("{DATASET}/inference_information.json")]
    );
    assert_eq!(fs::read(to.join(DATASET).join("inference_information.json")).unwrap(), b"mine");
}

#[test]
fn what_killed_installations_left_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let (from, to, zip) = (root.path().join("from"), root.path().join("to"), root.path().join("model.zip"));
    results(&from);
    export(&request(), &from, &zip).unwrap();
    let place = |name: &str| to.join(format!(".install.{name}.tmp"));
    for name in ["killed", "running", "replacing"] {
        write(&place(name).join("lock"), b"");
        write(&place(name).join("new/plans.json"), b"half");
    }
    write(&place("replacing").join("old/plans.json"), b"mine");
    let running = File::open(place("running").join("lock")).unwrap();
    running.lock().unwrap();
    install(&zip, &to, false).unwrap();
    assert!(!place("killed").exists());
    assert!(place("running").exists(), "another installation works in it");
    assert!(place("replacing").join("old/plans.json").exists(), "the only copy of something");
}

#[test]
fn what_is_missing_is_named() {
    let root = tempfile::tempdir().unwrap();
    let (from, zip) = (root.path().join("from"), root.path().join("model.zip"));
    results(&from);
    let mut request = request();
    request.configurations.insert(0, "2d".into());
    let message = export(&request, &from, &zip).unwrap_err();
    assert!(
        message.contains("__2d: no such model; found: nnUNetTrainer__nnUNetPlans__3d_fullres"),
        "{message}"
    );
    request.folds.push(Fold::All);
    request.configurations.remove(0);
    let message = export(&request, &from, &zip).unwrap_err();
    assert!(message.contains("fold_all/checkpoint_final.pth: no such checkpoint"), "{message}");
    assert!(!zip.exists());
    request.configurations.push("2d".into());
    request.strict = false;
    request.crossval_predictions = true;
    let names = export(&request, &from, &zip).unwrap();
    assert!(names.contains(&format!("{MODEL}/fold_1/validation/c0.nii.gz")));
    assert!(names.contains(&format!("{MODEL}/crossval_results_folds_0_1/c0.nii.gz")));
    assert!(!names.iter().any(|name| name.ends_with(".npz")));
    request.configurations = vec!["2d".into()];
    assert!(export(&request, &from, &zip).unwrap_err().contains("none of the configurations"));
}

/// An archive of the given members, below a complete model if `with_model`.
fn archive(path: &Path, with_model: bool, members: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let model = ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"].map(|f| format!("{MODEL}/{f}"));
    let model = model.iter().filter(|_| with_model).map(|name| (name.as_str(), &b"{}"[..]));
    for (name, bytes) in model.chain(members.iter().copied()) {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn archives_that_mean_harm_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (to, zip) = (root.path().join("to"), root.path().join("model.zip"));
    fs::create_dir(&to).unwrap();
    let refused = |part: &str| {
        let message = install(&zip, &to, true).unwrap_err();
        assert!(message.contains(part), "{message}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0, "{part}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "{part}");
    };
    for (name, part) in [
        ("../evil", "leads out of its folder"),
        ("Dataset811_Tiny/a/../../../evil", "leads out of its folder"),
        ("/tmp/evil", "is an absolute path"),
        ("Dataset811_Tiny\\..\\evil", "backslash"),
        ("C:/evil", "colon"),
        ("Dataset811_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres/PLANS.json", "is there twice"),
    ] {
        archive(&zip, true, &[(name, b"x")]);
        refused(part);
    }
    let zeros = vec![0u8; 80 << 20];
    archive(&zip, true, &[("Dataset811_Tiny/zeros", &zeros)]);
    refused("more than 100 times its size");

    let mut writer = ZipWriter::new(File::create(&zip).unwrap());
    writer.add_symlink(format!("{MODEL}/fold_0"), "/tmp", SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    refused("is a link or a device");
}

#[test]
fn other_archives_are_explained() {
    let root = tempfile::tempdir().unwrap();
    let (to, zip) = (root.path().join("to"), root.path().join("model.zip"));
    let refused = |part: &str| {
        let message = install(&zip, &to, true).unwrap_err();
        assert!(
            message.contains(part) && message.contains("expected an archive of exported models"),
            "{message}"
        );
        assert!(content(&to).is_empty());
    };
    archive(&zip, false, &[("3d_fullres/Task004_Hippocampus/plans.pkl", b"x")]);
    refused("it holds 3d_fullres/Task004_Hippocampus/plans.pkl");
    archive(&zip, false, &[(&format!("{MODEL}/plans.json"), b"{}")]);
    refused("has no dataset.json");
    archive(&zip, false, &[]);
    refused("no checkpoint");
    write(&zip, b"no archive");
    refused("no zip archive");
    archive(&zip, true, &[("__MACOSX/x", b"x"), (&format!("{MODEL}/.DS_Store"), b"x")]);
    install(&zip, &to, false).unwrap();
    assert_eq!(content(&to).len(), 3);
}

#[test]
fn a_failed_or_stopped_installation_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (to, zip) = (root.path().join("to"), root.path().join("model.zip"));
    archive(&zip, true, &[]);
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = install_model(&zip, &to, false, Ctx::new(&Silent, &cancel)).unwrap_err();
    assert!(stopped.to_string().contains("interrupted"));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);

    // The second of two models cannot be put into its place: the first is taken back.
    let other = "Dataset812_Other/nnUNetTrainer__nnUNetPlans__2d";
    let members = ["plans.json", "dataset.json"].map(|name| format!("{other}/{name}"));
    archive(&zip, true, &[(&members[0], b"{}"), (&members[1], b"{}")]);
    results(&to);
    write(&to.join("Dataset812_Other"), b"a file in the way");
    let before = content(&to);
    let message = install(&zip, &to, true).unwrap_err();
    assert!(message.contains("Dataset812_Other"), "{message}");
    assert_eq!(content(&to), before);
}

#[test]
fn models_are_listed_with_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    results(root.path());
    write(
        &root.path().join(DATASET).join("nnUNetTrainer__nnUNetPlans__2d/fold_all/checkpoint_final.pth"),
        b"12345",
    );
    let models = installed_models(root.path()).unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!((models[0].folds.as_slice(), models[0].checkpoint_bytes), (["all".to_owned()].as_slice(), 5));
    assert!(models[0].about.as_ref().unwrap_err().contains("dataset.json"));
    assert_eq!(models[1].folds, ["0", "1"]);
    let facts = models[1].about.as_ref().unwrap();
    assert_eq!(facts.classes, ["outer", "inner"]);
    assert_eq!(facts.spacing, [1.0, 1.0, 1.0]);
    assert_eq!(facts.channels, ["MR"]);
}
