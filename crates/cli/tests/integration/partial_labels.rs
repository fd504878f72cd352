//! Cases of which some labels were annotated, from the merge of datasets to the evaluation.

use std::path::Path;

use nnunet_testkit::phantom::PhantomDataset;
use serde_json::{Value, json};

use crate::common::{DATASET, Place, text};

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap().replace("NaN", "null")).unwrap()
}

/// Two datasets of balls, of the second of which only the core is taken.
const MERGE: &str = r#"
name = "Dataset020_Merged"

[[source]]
dataset = 7
name = "full"

[[source]]
dataset = "Dataset008_Cores"
name = "cores"
[source.labels]
shell = "background"
core = "core"
"#;

fn merged() -> Place {
    let place = Place::new();
    PhantomDataset { cases: 5, ..Default::default() }.write(&place.path("raw"), "Dataset008_Cores");
    std::fs::write(place.path("merge.toml"), MERGE).unwrap();
    place.succeed("merge-datasets merge.toml");
    place
}

#[test]
fn merged_datasets_train_and_evaluate_by_what_was_annotated() {
    let place = merged();
    let raw = place.path("raw/Dataset020_Merged");
    let dataset = read(&raw.join("dataset.json"));
    assert_eq!(dataset["labels"], json!({"background": 0, "shell": 1, "core": 2}));
    assert_eq!(dataset["numTraining"], 10);
    assert_eq!(dataset["annotated_labels"]["cases"]["cores_ball_003"], json!(["core"]));
    assert_eq!(dataset["annotated_labels"]["cases"].as_object().unwrap().len(), 5);
    place.succeed("verify -d 20");
    place.succeed("plan-and-preprocess -d 20 -c 3d_fullres");
    let folder = place.path("pre/Dataset020_Merged");
    let mut plans = read(&folder.join("nnUNetPlans.json"));
    plans["plans_name"] = json!("tiny");
    nnunet_testkit::plans::shrink(&mut plans["configurations"]["3d_fullres"]);
    std::fs::write(folder.join("tiny.json"), plans.to_string()).unwrap();
    let pickled = std::fs::read(folder.join("nnUNetPlans_3d_fullres/cores_ball_000.pkl")).unwrap();
    assert!(String::from_utf8_lossy(&pickled).contains("annotated_labels"));

    let schedule = "epochs = 1\niterations_per_epoch = 12\nvalidation_iterations = 4\n";
    std::fs::write(place.path("marginal.toml"), format!("{schedule}loss = \"marginal\"\n")).unwrap();
    std::fs::write(place.path("plain.toml"), schedule).unwrap();
    let refused = place.run("train 20 3d_fullres 0 -p tiny -tr plain.toml --threads 2");
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("Choose the loss marginal or exclusion"), "{said}");

    place.succeed("train 20 3d_fullres 0 -p tiny -tr marginal.toml --threads 2");
    let summary =
        place.path("res/Dataset020_Merged/marginal__tiny__3d_fullres/fold_0/validation/summary.json");
    let summary = read(&summary);
    let mut seen = [0; 2];
    for case in summary["metric_per_case"].as_array().unwrap() {
        let shell = &case["metrics"]["1"];
        let partial = case["prediction_file"].as_str().unwrap().contains("cores_");
        seen[usize::from(partial)] += 1;
        // A class that was not annotated has no Dice, and its voxels count nowhere.
        assert_eq!(shell["Dice"].is_null(), partial, "{case}");
        assert_eq!(shell["n_ref"] == 0 && shell["n_pred"] == 0, partial, "{case}");
        assert!(case["metrics"]["2"]["n_ref"].as_u64().unwrap() > 0);
    }
    assert!(seen.iter().all(|count| *count > 0), "the fold has cases of both kinds: {seen:?}");
}

#[test]
fn labels_that_a_source_does_not_have_or_that_are_left_are_named() {
    let place = Place::new();
    PhantomDataset::default().write(&place.path("raw"), "Dataset008_Cores");
    let error = |labels: &str| {
        let text = format!(
            "name = \"Dataset020_Merged\"\n[[source]]\ndataset = 7\n[[source]]\ndataset = 8\nlabels = {labels}\n"
        );
        std::fs::write(place.path("merge.toml"), text).unwrap();
        let output = place.run("merge-datasets merge.toml");
        assert!(!output.status.success());
        assert!(!place.path("raw/Dataset020_Merged").exists());
        self::text(&output.stderr)
    };
    let unknown = error("{ shel = \"shell\", core = \"core\" }");
    assert!(
        unknown.contains("has no label \"shel\" (did you mean shell?); its labels: shell, core"),
        "{unknown}"
    );
    let left = error("{ core = \"core\" }");
    assert!(left.contains("no name in the merged dataset is given for shell"), "{left}");
    let wrong = error("3");
    assert!(wrong.contains("a table from each label"), "{wrong}");
}

#[test]
fn a_dataset_that_was_preprocessed_with_other_annotations_is_not_trained_on() {
    let place = Place::new();
    place.prepare();
    let path = place.path("pre").join(DATASET).join("dataset.json");
    let mut dataset = read(&path);
    dataset["annotated_labels"] = json!({"default": ["core"]});
    std::fs::write(&path, dataset.to_string()).unwrap();
    let output = place.run("train 7 3d_fullres 0 -p tiny --threads 2 --epochs 1 --iterations-per-epoch 2");
    let said = text(&output.stderr);
    assert!(said.contains("preprocessed with these labels annotated: all; dataset.json says"), "{said}");
}

/// Dice of shell and core on new balls, after a training on the raw dataset `id`.
fn dice_after(place: &Place, id: u32, name: &str, loss: &str) -> [f64; 2] {
    place.succeed(&format!("plan-and-preprocess -d {id} -c 3d_fullres"));
    let folder = place.path("pre").join(name);
    let mut plans = read(&folder.join("nnUNetPlans.json"));
    plans["plans_name"] = json!("tiny");
    nnunet_testkit::plans::shrink(&mut plans["configurations"]["3d_fullres"]);
    std::fs::write(folder.join("tiny.json"), plans.to_string()).unwrap();
    let recipe = format!(
        "epochs = 2\niterations_per_epoch = 150\nvalidation_iterations = 4\naugmentation = \"no_mirroring\"\nloss = \"{loss}\"\n"
    );
    std::fs::write(place.path(&format!("{loss}.toml")), recipe).unwrap();
    place.succeed(&format!("train {id} 3d_fullres all -p tiny -tr {loss}.toml --threads 2"));
    let model = format!("res/{name}/{loss}__tiny__3d_fullres");
    place.succeed(&format!("predict -i test -o {name} -m {model} -f all"));
    place.succeed(&format!("evaluate truth {name} -l 1 2"));
    let summary = read(&place.path(&format!("{name}/summary.json")));
    ["1", "2"].map(|class| summary["mean"][class]["Dice"].as_f64().unwrap())
}

#[test]
fn the_marginal_loss_learns_from_halves_what_the_naive_one_does_not() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let phantom = PhantomDataset { cases: 6, ..Default::default() };
    for (name, seeds) in [("Dataset007_Balls", 0..6), ("Dataset008_Cores", 50..56)] {
        let folder = phantom.write(&place.path("raw"), name);
        for (case, seed) in seeds.enumerate() {
            let (images, labels) = (folder.join("imagesTr"), folder.join("labelsTr"));
            phantom.write_case(&images, &labels, &format!("ball_{case:03}"), seed);
        }
    }
    for seed in 100..104 {
        phantom.write_case(&place.path("test"), &place.path("truth"), &format!("new_{seed}"), seed);
    }
    let halves =
        [["shell = \"shell\"", "core = \"background\""], ["shell = \"background\"", "core = \"core\""]];
    let merge = |name: &str, labels: &dyn Fn(usize) -> String| {
        let sources =
            [7, 8].iter().enumerate().map(|(i, id)| format!("[[source]]\ndataset = {id}\n{}\n", labels(i)));
        let text = format!("name = \"{name}\"\n{}", sources.collect::<String>());
        std::fs::write(place.path("merge.toml"), text).unwrap();
        place.succeed("merge-datasets merge.toml");
    };
    let half = |source: usize| format!("labels = {{ {} }}", halves[source].join(", "));
    merge("Dataset021_Full", &|_| String::new());
    merge("Dataset022_Marginal", &half);
    merge("Dataset023_Naive", &half);
    let path = place.path("raw/Dataset023_Naive/dataset.json");
    let mut naive = read(&path);
    naive.as_object_mut().unwrap().remove("annotated_labels").unwrap();
    std::fs::write(path, naive.to_string()).unwrap();

    let full = dice_after(&place, 21, "Dataset021_Full", "dice_ce");
    let marginal = dice_after(&place, 22, "Dataset022_Marginal", "marginal");
    let naive = dice_after(&place, 23, "Dataset023_Naive", "dice_ce");
    eprintln!("full {full:.3?}, marginal {marginal:.3?}, naive {naive:.3?}");
    for class in [0, 1] {
        assert!(marginal[class] > full[class] - 0.05, "{full:?} {marginal:?}");
    }
    assert!((0..2).any(|class| naive[class] < marginal[class] - 0.1), "{marginal:?} {naive:?}");
}
