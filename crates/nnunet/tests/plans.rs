//! Plans of 12 public and phantom datasets with every planner, against those of the reference:
//! every key, the order of the keys, numbers to 1e-6 relative.
// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet::dataset::ImageReader;
use nnunet::fingerprint::Fingerprint;
use nnunet::json::Json;
use nnunet::plan::{
    DatasetFacts, Explanation, PlannerOptions, PlannerPreset, Plans, explain, make_plans, plan_experiment,
};
use nnunet_network::architectures::build;
use nnunet_testkit::shared::shared_path;

fn load(path: &Path) -> Json {
    Json::load(path).unwrap_or_else(|e| panic!("{e}"))
}

fn triples(value: &Json) -> Vec<[f64; 3]> {
    let list = |v: &Json| v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    value.as_array().unwrap().iter().map(|v| list(v).try_into().unwrap()).collect()
}

fn facts(folder: &Path, dataset_name: &str) -> DatasetFacts {
    let dataset = load(&folder.join("dataset.json"));
    let text = |key: &str| dataset.get(key).and_then(Json::as_str);
    DatasetFacts {
        dataset_name: dataset_name.to_owned(),
        channel_names: dataset
            .get("channel_names")
            .and_then(Json::as_object)
            .unwrap()
            .values()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect(),
        label_entries: dataset.get("labels").and_then(Json::as_object).unwrap().len(),
        training_cases: dataset.get("numTraining").and_then(Json::as_i64).unwrap() as usize,
        image_reader_writer: ImageReader::new(
            text("overwrite_image_reader_writer"),
            text("file_ending").unwrap(),
            folder,
        )
        .unwrap()
        .name()
        .to_owned(),
        fingerprint: Fingerprint::load(&folder.join("dataset_fingerprint.json")).unwrap(),
    }
}

/// Differences of `ours` to `theirs`, each with the way to it.
fn differences(ours: &Json, theirs: &Json, way: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Json::Object(a), Json::Object(b)) => {
            if a.keys().ne(b.keys()) {
                found.push(format!(
                    "{way}: keys {:?} != {:?}",
                    a.keys().collect::<Vec<_>>(),
                    b.keys().collect::<Vec<_>>()
                ));
            }
            for (key, value) in a {
                if let Some(other) = b.get(key) {
                    differences(value, other, &format!("{way}.{key}"), found);
                }
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{way}[{i}]"), found);
            }
        }
        (Json::Float(a), Json::Float(b)) if (a - b).abs() <= 1e-6 * b.abs() => {}
        _ if ours == theirs => {}
        _ => found.push(format!("{way}: {ours:?} != {theirs:?}")),
    }
}

/// Plans every file named in `meta.json` of `folder` and compares. Returns how many there were, and
/// how many came out equal byte for byte.
fn check_folder(folder: &Path) -> (usize, usize) {
    let meta = load(&folder.join("meta.json"));
    let facts = facts(folder, meta.get("dataset_name").and_then(Json::as_str).unwrap());
    let mut equal_bytes = 0;
    let plans = meta.get("plans").and_then(Json::as_array).unwrap();
    for plan in plans {
        let kwargs = plan.get("kwargs").unwrap();
        let spacing = kwargs.get("overwrite_target_spacing").map(|v| triples(&vec![v.clone()].into())[0]);
        let options = PlannerOptions {
            preset: PlannerPreset::by_name(plan.get("planner").and_then(Json::as_str).unwrap()).unwrap(),
            gpu_memory_target_gb: plan.get("gpu_memory_target_in_gb").and_then(Json::as_f64),
            overwrite_target_spacing: spacing,
            overwrite_plans_name: kwargs.get("plans_name").and_then(Json::as_str).map(str::to_owned),
            suppress_transpose: kwargs.get("suppress_transpose").and_then(Json::as_bool).unwrap_or(false),
            ..PlannerOptions::default()
        };
        let path = folder.join(plan.get("file").and_then(Json::as_str).unwrap());
        let ours = make_plans(&facts, &options).unwrap();
        let theirs = load(&path);
        let mut found = Vec::new();
        differences(&ours.to_json(), &theirs, "plans", &mut found);
        assert!(found.is_empty(), "{}:\n{}", path.display(), found.join("\n"));
        let text = ours.to_json().to_python(nnunet::json::KeyOrder::Kept);
        equal_bytes += usize::from(std::fs::read_to_string(&path).unwrap() == text);

        // Every configuration resolves, and its network is one we can read.
        let read = Plans::read(&path).unwrap();
        for name in read.configuration_names() {
            let configuration = read.configuration(name).unwrap();
            let architecture = &configuration.architecture;
            let (inputs, outputs) = (configuration.channels(), facts.label_entries);
            let kwargs = architecture.kwargs_value();
            build(&architecture.network_class_name, &kwargs, inputs, outputs, true).unwrap();
            let stages = architecture.arch_kwargs["n_stages"].as_i64().unwrap() as usize;
            assert_eq!(configuration.strides().unwrap().len(), stages);
            assert_eq!(configuration.channels(), facts.channel_names.len());
            for resampling in [
                &configuration.resampling_data,
                &configuration.resampling_seg,
                &configuration.resampling_probabilities,
            ] {
                let keeps = resampling.method().unwrap().is_none();
                assert_eq!(keeps, read.experiment_planner_used().unwrap().ends_with("_noResampling"));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("plans.json");
        read.write(&copy).unwrap();
        assert_eq!(load(&copy), theirs, "reading and writing loses nothing");
    }
    (plans.len(), equal_bytes)
}

#[test]
fn public_plans_are_equal() {
    let Some(root) = shared_path("reference/plans_public") else { return };
    let mut files = 0;
    let mut equal = 0;
    let mut datasets = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let (plans, bytes) = check_folder(&entry.unwrap().path());
        datasets += 1;
        files += plans;
        equal += bytes;
    }
    eprintln!("{files} plans of {datasets} datasets; {equal} equal byte for byte");
    assert_eq!((datasets, files), (12, 64));
}

#[test]
fn phantom_plans_are_equal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan");
    let mut files = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += check_folder(&path).0;
        }
    }
    assert_eq!(files, 26);
}

#[test]
fn hippocampus_plans_are_equal() {
    let Some(root) = shared_path("reference/dataset004_plans") else { return };
    let facts = facts(&root, "Dataset004_Hippocampus");
    for (planner, file) in [
        ("ExperimentPlanner", "nnUNetPlans.json"),
        ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans.json"),
        ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans.json"),
    ] {
        let options =
            PlannerOptions { preset: PlannerPreset::by_name(planner).unwrap(), ..PlannerOptions::default() };
        let ours = make_plans(&facts, &options).unwrap();
        let mut found = Vec::new();
        differences(&ours.to_json(), &load(&root.join(file)), "plans", &mut found);
        assert!(found.is_empty(), "{file}:\n{}", found.join("\n"));
    }
}

#[test]
fn decisions_are_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan");
    let reasons = |dataset: &str, options: &PlannerOptions| {
        let facts = facts(&root.join(dataset), dataset);
        let experiment = plan_experiment(&facts, options).unwrap();
        explain(&facts, options, &experiment)
    };
    let find = |all: &[Explanation], key: &str| -> Explanation {
        all.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("{key} in {all:#?}")).clone()
    };
    let options = PlannerOptions::default();
    let thick = reasons("Dataset801_thick", &options);
    let spacing = &thick[0];
    assert!(spacing.reason.contains("axis 0 is more than 3 times coarser"), "{spacing:?}");
    let mask = find(&thick, "use_mask_for_norm[0]");
    assert!(
        mask.value == "true" && mask.reason.contains("0.600 of the median image, less than 0.75"),
        "{mask:?}"
    );

    let oriented = reasons("Dataset802_oriented", &options);
    assert_eq!(find(&oriented, "transpose_forward").value, "[2, 0, 1]");
    let scheme = find(&oriented, "normalization_schemes[0]");
    assert_eq!(scheme.reason, "the channel's name \"CT\" asks for it");
    assert_eq!(find(&oriented, "configurations").value, "3d_lowres and 3d_cascade_fullres");
    assert!(find(&oriented, "3d_lowres.patch_size").reason.contains("begins at"), "{oriented:#?}");

    let small = reasons("Dataset803_small", &options);
    let batch = find(&small, "3d_fullres.batch_size");
    assert!(batch.value == "2" && batch.reason.starts_with("the smallest there is"), "{batch:?}");
    assert!(find(&small, "3d_fullres.patch_size").reason.contains("fits 8 GB as it is"), "{small:#?}");
    let kept = PlannerOptions {
        suppress_transpose: true,
        overwrite_target_spacing: Some([1.0; 3]),
        ..PlannerOptions::default()
    };
    let kept = reasons("Dataset803_small", &kept);
    assert!(kept[0].reason == "given by the user" && kept[1].reason.contains("keep the order"), "{kept:#?}");
}
