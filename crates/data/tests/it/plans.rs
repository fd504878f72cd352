//! Plans of 12 public and phantom datasets with every planner, against those of the reference:
//! every key, the order of the keys, numbers to 1e-6 relative.
// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_data::Parts;
use nnunet_data::fingerprint::Fingerprint;
use nnunet_data::plan::{
    Channel, DatasetFacts, Explanation, PlannerOptions, Plans, explain, explanations_as_json,
    explanations_as_text, make_plans,
};
use nnunet_dataset::ImageReader;
use nnunet_graph::architectures::build;
use nnunet_pyformats::json::Json;
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
        channels: dataset
            .get("channel_names")
            .and_then(Json::as_object)
            .unwrap()
            .values()
            .map(|v| Channel::new(v.as_str().unwrap(), &Parts::default().normalizations))
            .collect(),
        label_entries: dataset.get("labels").and_then(Json::as_object).unwrap().len(),
        training_cases: dataset.get("numTraining").and_then(Json::as_i64).unwrap() as usize,
        image_reader_writer: ImageReader::new(
            &Parts::default().formats,
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
            planner: plan.get("planner").and_then(Json::as_str).unwrap().to_owned(),
            gpu_memory_target_gb: plan.get("gpu_memory_target_in_gb").and_then(Json::as_f64),
            overwrite_target_spacing: spacing,
            overwrite_plans_name: kwargs.get("plans_name").and_then(Json::as_str).map(str::to_owned),
            suppress_transpose: kwargs.get("suppress_transpose").and_then(Json::as_bool).unwrap_or(false),
            ..PlannerOptions::default()
        };
        let path = folder.join(plan.get("file").and_then(Json::as_str).unwrap());
        let ours = make_plans(&facts, &options, &Parts::default()).unwrap();
        let theirs = load(&path);
        let mut found = Vec::new();
        differences(&ours.to_json(), &theirs, "plans", &mut found);
        assert!(found.is_empty(), "{}:\n{}", path.display(), found.join("\n"));
        let text = ours.to_json().to_python(nnunet_pyformats::json::KeyOrder::Kept);
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
            assert_eq!(configuration.channels(), facts.channels.len());
            for resampling in [
                &configuration.resampling_data,
                &configuration.resampling_seg,
                &configuration.resampling_probabilities,
            ] {
                let keeps = resampling.method(&Parts::default().resampling).unwrap().is_none();
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
        let options = PlannerOptions { planner: planner.to_owned(), ..PlannerOptions::default() };
        let ours = make_plans(&facts, &options, &Parts::default()).unwrap();
        let mut found = Vec::new();
        differences(&ours.to_json(), &load(&root.join(file)), "plans", &mut found);
        assert!(found.is_empty(), "{file}:\n{}", found.join("\n"));
    }
}

#[test]
fn every_value_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan");
    let reasons = |dataset: &str, options: &PlannerOptions| {
        let facts = facts(&root.join(dataset), dataset);
        explain(&make_plans(&facts, options, &Parts::default()).unwrap(), &facts, options, &Parts::default())
            .unwrap()
    };
    let find = |all: &[Explanation], key: &str| -> Explanation {
        all.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("{key} in {all:#?}")).clone()
    };
    for planner in Parts::default().planners.names() {
        let options = PlannerOptions { planner: planner.to_owned(), ..PlannerOptions::default() };
        for dataset in ["Dataset801_thick", "Dataset802_oriented", "Dataset803_small", "Dataset804_slices"] {
            for explanation in reasons(dataset, &options) {
                let Explanation { key, source, rule, planned, .. } = &explanation;
                assert!(planned.is_none() && !source.is_empty() && !rule.is_empty(), "{explanation:?}");
                assert!(!rule.contains("added to the file"), "{dataset}, {planner}: {key} has no reason");
            }
        }
    }

    let options = PlannerOptions::default();
    let thick = reasons("Dataset801_thick", &options);
    let spacing = find(&thick, "configurations.3d_fullres.spacing");
    assert!(spacing.rule.contains("axis 0 of the images is more than 3 times coarser"), "{spacing:?}");
    let mask = find(&thick, "configurations.3d_fullres.use_mask_for_norm");
    assert_eq!(mask.source, "fingerprint: median_relative_size_after_cropping 0.600");
    assert!(mask.rule.starts_with("less than 0.75"), "{mask:?}");

    let oriented = reasons("Dataset802_oriented", &options);
    let transpose = find(&oriented, "transpose_forward");
    assert!(transpose.rule.starts_with("the axis with the largest spacing comes first"), "{transpose:?}");
    let scheme = find(&oriented, "configurations.2d.normalization_schemes");
    assert_eq!(scheme.source, "dataset.json: channel_names [\"CT\", \"noNorm\"]");
    assert!(find(&oriented, "configurations").rule.contains("3d_cascade_fullres after it"));
    assert!(find(&oriented, "configurations.3d_lowres.patch_size").rule.starts_with("begins at"));
    let strides = find(&oriented, "configurations.3d_fullres.architecture.arch_kwargs.strides");
    assert!(strides.rule.contains("poolings per axis"), "{strides:?}");

    let small = reasons("Dataset803_small", &options);
    let batch = find(&small, "configurations.3d_fullres.batch_size");
    assert!(batch.rule.starts_with("the smallest there is"), "{batch:?}");
    assert!(find(&small, "configurations.3d_fullres.patch_size").rule.contains("fits 8 GB as it is"));
    let slices = reasons("Dataset804_slices", &options);
    assert!(find(&slices, "configurations").rule.contains("a single slice"));
}

#[test]
fn what_was_edited_is_told_from_what_was_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan/Dataset803_small");
    let facts = facts(&root, "Dataset803_small");
    let options = PlannerOptions::default();
    let mut plans = make_plans(&facts, &options, &Parts::default()).unwrap();
    let mut edited = plans.configuration("2d").unwrap().document;
    let planned = edited.insert("batch_size".to_owned(), Json::Int(3)).unwrap();
    plans.set_configuration("2d", edited);
    let own = [("inherits_from", "2d".into()), ("batch_size", Json::Int(5))];
    plans.set_configuration("own", own.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());

    let all = explain(&plans, &facts, &options, &Parts::default()).unwrap();
    let differ: Vec<_> = all.iter().filter(|e| e.planned.is_some()).collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert_eq!(
        (differ[0].key.as_str(), &differ[0].planned),
        ("configurations.2d.batch_size", &Some(planned))
    );
    let own = all.iter().find(|e| e.key == "configurations.own.batch_size").unwrap();
    assert!(own.source == "not from the planner" && own.rule.contains("keeps it"), "{own:?}");

    let text = explanations_as_text(&all);
    assert!(
        text.contains("\nconfigurations.2d\n") && text.contains("  batch_size: 3\n      the planner makes "),
        "{text}"
    );
    let listed = Json::parse(&explanations_as_json(&all)).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), all.len());
    assert!(listed.as_array().unwrap().iter().all(|e| e.get("rule").and_then(Json::as_str).is_some()));
}
