//! Ensembles, postprocessing and the choice of a configuration, against nnU-Net's own results.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nnunet::select::{SelectRequest, Selection, accumulate, find_best, information, instructions};
use nnunet_assess::postprocess::{
    Classes, KeepLargest, Postprocessing, apply_to_folder, determine, postprocessings,
};
use nnunet_base::Ctx;
use nnunet_base::hint::explain;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_data::prediction_folder::PredictionFolder;
use nnunet_dataset::{DatasetName, Folders, LabelOrRegion};
use nnunet_image_io::nifti;
use nnunet_infer::ensemble::ensemble_folders;
use nnunet_infer::model::ModelName;
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_testkit::npy::read_npz;
use nnunet_testkit::shared::shared_path;

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/selection")).join(name)
}

/// Every file below `root`, relative to it.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = PathBuf::from(path.file_name().unwrap());
            found.extend(files(&path).into_iter().map(|file| name.join(file)));
        } else {
            found.insert(path.file_name().unwrap().into());
        }
    }
    found
}

fn copy_tree(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // Goldens may be read-only; copies of them are changed.
        fs::write(target, fs::read(from.join(file)).unwrap()).unwrap();
    }
}

/// The text of a JSON file with the folders taken out of the file names.
fn without_folders(path: &Path) -> String {
    let text = Json::load(path).unwrap().to_python(KeyOrder::Sorted);
    let line = |line: &str| match line.split_once("_file\": ") {
        Some((key, path)) => format!("{key}_file\": {}", path.rsplit('/').next().unwrap()),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn assert_same_image(ours: &Path, theirs: &Path) {
    let name = ours.display();
    let (ours, theirs) = (nifti::read(ours).unwrap(), nifti::read(theirs).unwrap());
    assert!(ours.volume.data() == theirs.volume.data(), "{name}: other labels");
    assert_eq!((ours.volume.shape(), ours.stored_type), (theirs.volume.shape(), theirs.stored_type));
    assert_eq!(ours.geometry, theirs.geometry);
}

/// Compares every file of the golden folder `theirs` with its counterpart in `ours`.
fn assert_same_results(ours: &Path, theirs: &Path) {
    for file in files(theirs) {
        let (ours, theirs) = (ours.join(&file), theirs.join(&file));
        assert!(ours.is_file(), "{} is missing", ours.display());
        match file.file_name().unwrap().to_str().unwrap() {
            "plans.json" | "dataset.json" | "inference_instructions.txt" => {}
            "postprocessing.pkl" => {
                let read = |path| Postprocessing::read(path, &postprocessings()).unwrap();
                assert_eq!(read(&ours), read(&theirs));
            }
            "postprocessing.json" => {
                assert_eq!(fs::read_to_string(&ours).unwrap(), fs::read_to_string(&theirs).unwrap());
            }
            name if name.ends_with(".json") => {
                assert_eq!(without_folders(&ours), without_folders(&theirs), "{}", file.display());
            }
            name if name.ends_with(".nii.gz") => assert_same_image(&ours, &theirs),
            name if name.ends_with(".npz") => {
                let (ours, theirs) = (read_npz(&ours), read_npz(&theirs));
                assert_eq!(ours["probabilities"].shape, theirs["probabilities"].shape);
                assert!(ours["probabilities"].data == theirs["probabilities"].data, "{}", file.display());
            }
            name => assert!(name.ends_with(".pkl"), "unexpected golden {name}"),
        }
    }
}

fn open(folder: &Path) -> PredictionFolder {
    PredictionFolder::open(folder, None, None, &Parts::default()).unwrap()
}

#[test]
fn postprocessing_is_found_as_the_reference_finds_it() {
    for name in ["labels", "regions", "ignore"] {
        let Some(root) = shared_path(&format!("reference/eval/{name}")) else { return };
        let out = tempfile::tempdir().unwrap();
        copy_tree(&root.join("pred"), out.path());
        let folder = PredictionFolder::open(
            out.path(),
            Some(&root.join("dataset.json")),
            Some(&root.join("plans.json")),
            &Parts::default(),
        )
        .unwrap();
        let found = determine(&folder, &root.join("gt"), true, Ctx::new(&Silent, &Cancel::new())).unwrap();
        assert_eq!(found.decisions.len(), 3);
        assert_eq!(found.postprocessing.steps.len(), 2, "{name}: {:?}", found.decisions);
        assert_same_results(out.path(), &root.join("pp"));

        // The first step by itself.
        let foreground = folder.labels.foreground_labels().into_iter().map(LabelOrRegion::Label).collect();
        let forced = tempfile::tempdir().unwrap();
        let all = Postprocessing { steps: vec![KeepLargest::new(Classes::Together(foreground)).into()] };
        let removed =
            apply_to_folder(&all, &folder, forced.path(), Ctx::new(&Silent, &Cancel::new())).unwrap();
        assert!(removed > 0);
        assert_same_results(forced.path(), &root.join("pp_forced"));
    }
}

#[test]
fn ensembles_equal_the_references() {
    for name in ["ensemble_labels", "ensemble_regions"] {
        let Some(root) = shared_path(&format!("reference/eval/{name}")) else { return };
        let out = tempfile::tempdir().unwrap();
        let members = [0, 1, 2].map(|i| root.join(format!("in{i}")));
        let cases = ensemble_folders(
            &members,
            out.path(),
            true,
            &Parts::default(),
            Ctx::new(&Silent, &Cancel::new()),
        )
        .unwrap();
        assert_eq!(cases, 2);
        assert_same_results(out.path(), &root.join("out"));
    }
}

#[test]
fn regions_are_merged_and_postprocessed_as_by_the_reference() {
    let out = tempfile::tempdir().unwrap();
    let members = [golden("regions/in0"), golden("regions/in1")];
    ensemble_folders(&members, out.path(), true, &Parts::default(), Ctx::new(&Silent, &Cancel::new()))
        .unwrap();
    determine(&open(out.path()), &golden("regions/gt"), true, Ctx::new(&Silent, &Cancel::new())).unwrap();
    assert_same_results(out.path(), &golden("expected/regions"));

    // Once more without leaving the changed segmentations.
    fs::remove_dir_all(out.path().join("postprocessed")).unwrap();
    let found = determine(&open(out.path()), &golden("regions/gt"), false, Ctx::new(&Silent, &Cancel::new()))
        .unwrap();
    assert!(!found.postprocessing.steps.is_empty());
    assert!(!out.path().join("postprocessed").exists());
}

#[test]
fn ensembles_of_unlike_folders_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    copy_tree(&golden("regions/in0"), &first);
    copy_tree(&golden("regions/in1"), &second);
    let merge = || {
        let members = [first.clone(), second.clone()];
        let out = root.path().join("out");
        let cancel = Cancel::new();
        let ctx = Ctx::new(&Silent, &cancel);
        explain(&ensemble_folders(&members, &out, false, &Parts::default(), ctx).unwrap_err())
    };
    fs::rename(second.join("r1.npz"), second.join("other.npz")).unwrap();
    let message = merge();
    assert!(message.contains("first: 1 of 4 cases are missing: other"), "{message}");
    fs::rename(second.join("other.npz"), second.join("r1.npz")).unwrap();

    fs::remove_file(first.join("r2.pkl")).unwrap();
    let message = merge();
    assert!(message.contains("1 of 3 cases failed") && message.contains("r2.pkl"), "{message}");
    fs::write(second.join("r0.npz"), b"PK\x03\x04 and nothing").unwrap();
    let message = merge();
    assert!(message.contains("2 of 3 cases failed") && message.contains("r0.npz"), "{message}");

    for case in ["r0", "r1", "r2"] {
        fs::remove_file(first.join(format!("{case}.npz"))).unwrap();
    }
    let message = merge();
    assert!(
        message.contains("first: no .npz files") && message.contains("Save the probabilities"),
        "{message}"
    );
}

/// A results folder with the goldens' models, and the folder of the preprocessed dataset.
struct CrossValidation {
    _root: tempfile::TempDir,
    folders: Folders,
    results: PathBuf,
    request: SelectRequest,
}

impl CrossValidation {
    fn new(dataset: &str, results: &Path, preprocessed: &Path, folds: &[u32]) -> Self {
        let root = tempfile::tempdir().unwrap();
        copy_tree(results, root.path());
        let folders = Folders {
            results: Some(root.path().to_owned()),
            preprocessed: Some(preprocessed.to_owned()),
            raw: None,
        };
        let model = |configuration: &str| ModelName {
            trainer: "nnUNetTrainer".into(),
            plans: "nnUNetPlans".into(),
            configuration: configuration.into(),
        };
        let request = SelectRequest {
            dataset: DatasetName::new(dataset).unwrap(),
            models: ["2d", "3d_fullres", "3d_lowres"].map(model).to_vec(),
            folds: folds.to_vec(),
            ensembling: true,
            overwrite: true,
        };
        Self { results: root.path().join(dataset), _root: root, folders, request }
    }

    fn tiny() -> Self {
        Self::new("Dataset811_Tiny", &golden("labels/results"), &golden("labels/preprocessed"), &[0, 1])
    }

    fn choose(&self) -> Result<Selection, String> {
        find_best(&self.request, &self.folders, &Parts::default(), Ctx::new(&Silent, &Cancel::new()))
            .map_err(|e| explain(&e))
    }

    fn model(&self, configuration: &str) -> PathBuf {
        self.results.join(format!("nnUNetTrainer__nnUNetPlans__{configuration}"))
    }
}

/// Chooses and compares everything with what the reference left in `expected`.
fn assert_same_choice(crossval: &CrossValidation, expected: &Path) {
    let selection = crossval.choose().unwrap();
    let file = crossval.results.join("inference_information.json");
    information(&crossval.request, &selection).save(&file, KeyOrder::Sorted).unwrap();
    let text = instructions(&crossval.request, &selection, &crossval.results).unwrap();
    fs::write(crossval.results.join("inference_instructions.txt"), &text).unwrap();
    assert_same_results(&crossval.results, expected);

    // The commands are the reference's but for their names, the number of processes and our folder.
    let theirs = fs::read_to_string(expected.join("inference_instructions.txt")).unwrap();
    let file_name = |word: &str| word.rsplit('/').next().unwrap().trim_matches('"').to_owned();
    let words = |line: &str| line.split_whitespace().map(file_name).collect::<Vec<_>>().join(" ");
    let commands = |text: &str, start: &str| {
        text.lines().filter(|line| line.starts_with(start)).map(words).collect::<Vec<_>>()
    };
    let theirs: Vec<_> = commands(&theirs, "nnUNetv2_")
        .iter()
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            let verb = name.trim_start_matches("nnUNetv2_").replace('_', "-");
            format!("nnunet {verb} {}", rest.replace(" -np 1", ""))
        })
        .collect();
    assert_eq!(commands(&text, "nnunet "), theirs);
}

#[test]
fn the_choice_is_the_references() {
    assert_same_choice(&CrossValidation::tiny(), &golden("expected/labels/Dataset811_Tiny"));
    let Some(root) = shared_path("reference/eval/find_best") else { return };
    // The golden has no plans among the preprocessed files; those of the models count then.
    let crossval = CrossValidation::new(
        "Dataset810_FakeCV",
        &root.join("input_results"),
        &root.join("input_preprocessed"),
        &[0, 1, 2],
    );
    let mut known = crossval.request.clone();
    known.models.truncate(2);
    let crossval = CrossValidation { request: known, ..crossval };
    assert_same_choice(&crossval, &root.join("output_results/Dataset810_FakeCV"));
}

#[test]
fn single_models_are_compared_from_their_labels() {
    let mut crossval = CrossValidation::tiny();
    for file in files(&crossval.results) {
        if file.extension().is_some_and(|e| e == "npz" || e == "pkl") {
            fs::remove_file(crossval.results.join(file)).unwrap();
        }
    }
    let message = crossval.choose().unwrap_err();
    assert!(
        message.contains("fold_0/validation: no probabilities")
            && message.contains("compare single models only"),
        "{message}"
    );
    crossval.request.ensembling = false;
    let selection = crossval.choose().unwrap();
    assert_eq!(selection.candidates.len(), 2);
    assert_eq!(selection.winner().members.len(), 1);
    assert!(!crossval.results.join("ensembles").exists());
    assert!(selection.winner().folder.join("postprocessing.pkl").is_file());
}

#[test]
fn earlier_results_are_kept_if_asked() {
    let mut crossval = CrossValidation::tiny();
    let first = crossval.choose().unwrap();
    let marked = first.candidates[2].folder.join("marker");
    fs::write(&marked, "").unwrap();
    crossval.request.overwrite = false;
    assert_eq!(crossval.choose().unwrap(), first);
    assert!(marked.is_file());
    crossval.request.overwrite = true;
    assert_eq!(crossval.choose().unwrap(), first);
    assert!(!marked.exists());
}

#[test]
fn incomplete_cross_validations_are_explained() {
    let crossval = CrossValidation::tiny();
    let model = crossval.model("3d_fullres");
    let references = golden("labels/preprocessed/Dataset811_Tiny/gt_segmentations");
    let accumulate = |folds: &[u32]| {
        let out = crossval.results.join("out");
        accumulate(
            &model,
            folds,
            &out,
            &references,
            true,
            &Parts::default(),
            Ctx::new(&Silent, &Cancel::new()),
        )
        .map_err(|e| explain(&e))
    };
    assert_eq!(accumulate(&[0, 1]).unwrap().metric_per_case.len(), 6);
    let message = accumulate(&[0, 2]).unwrap_err();
    assert!(
        message.contains("fold_2/validation: no predictions")
            && message.contains("name those that are trained"),
        "{message}"
    );
    assert!(crossval.results.join("out/summary.json").is_file(), "a failed run leaves the earlier results");
    let validation = model.join("fold_0/validation");
    fs::copy(model.join("fold_1/validation/c1.nii.gz"), validation.join("c1.nii.gz")).unwrap();
    let message = accumulate(&[0, 1]).unwrap_err();
    assert!(message.contains("case c1 is predicted by several folds"), "{message}");
    fs::remove_file(validation.join("c1.nii.gz")).unwrap();

    fs::remove_file(validation.join("c2.npz")).unwrap();
    let message = crossval.choose().unwrap_err();
    assert!(message.contains("1 of 6 cases are missing: c2"), "{message}");
    fs::remove_dir_all(&model).unwrap();
    let message = crossval.choose().unwrap_err();
    assert!(
        message.contains("no such model") && message.contains("Train this model, or leave it out"),
        "{message}"
    );
}
