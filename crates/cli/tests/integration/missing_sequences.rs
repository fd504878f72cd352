//! Sequences that cases lack, from dataset.json to the evaluation of every pattern.

use std::path::Path;

use nnunet_testkit::sequences::{SEQUENCES, SequencesDataset};
use serde_json::{Value, json};

use crate::common::Place;

const NAME: &str = "Dataset009_Heads";

/// Recipes with and without sparsified training, on the same augmentation.
const RECIPES: [(&str, &str); 2] = [
    ("plain", "augmentation = \"no_mirroring\"\n"),
    (
        "sparse",
        "[augmentation]\nkind = \"no_mirroring\"\nappend = [{ kind = \"drop_channels\", probability = 0.8 }]\n",
    ),
];

/// Heads of which all channels are there, planned and preprocessed for a tiny network.
fn prepare(dataset: &SequencesDataset, features: [usize; 2]) -> Place {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    dataset.write(&place.path("raw"), NAME);
    plan(&place, features);
    place
}

fn plan(place: &Place, features: [usize; 2]) {
    place.succeed("plan-and-preprocess -d 9 -c 3d_fullres");
    let folder = place.path("pre").join(NAME);
    let mut plans: Value = read(&folder.join("nnUNetPlans.json"));
    plans["plans_name"] = json!("tiny");
    let configuration = &mut plans["configurations"]["3d_fullres"];
    nnunet_testkit::plans::shrink(configuration);
    configuration["architecture"]["arch_kwargs"]["features_per_stage"] = json!(features);
    std::fs::write(folder.join("tiny.json"), plans.to_string()).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Trains with a recipe and returns missing_patterns.json of new heads.
fn patterns_of(place: &Place, recipe: &str, text: &str, schedule: &str) -> Value {
    std::fs::write(place.path(&format!("{recipe}.toml")), format!("{schedule}{text}")).unwrap();
    place.succeed(&format!("train 9 3d_fullres all -p tiny -tr {recipe}.toml --threads 2"));
    let model = format!("res/{NAME}/{recipe}__tiny__3d_fullres");
    place.succeed(&format!("predict -i test -o {recipe} -m {model} -f all --missing-patterns"));
    let table = place.succeed(&format!("evaluate truth {recipe} --missing-patterns --tsv {recipe}.tsv"));
    eprintln!("{recipe}\n{table}");
    read(&place.path(&format!("{recipe}/missing_patterns.json")))
}

/// Dice of a class for the pattern in which `missing` are missing.
fn dice(patterns: &Value, missing: &[&str], class: &str) -> f64 {
    let of = |pattern: &&Value| pattern["missing"] == json!(missing);
    let found = patterns["patterns"].as_array().unwrap().iter().find(of).unwrap();
    found["classes"][class]["Dice"].as_f64().unwrap()
}

fn compare(schedule: &str, features: [usize; 2], limits: [f64; 2]) {
    let place = prepare(&SequencesDataset::default(), features);
    SequencesDataset { cases: 4, first: 100, ..Default::default() }
        .write_cases(&place.path("test"), &place.path("truth"));
    let [plain, sparse] = RECIPES.map(|(recipe, text)| patterns_of(&place, recipe, text, schedule));
    let [high, low] = limits;
    for table in [&plain, &sparse] {
        assert_eq!(table["patterns"].as_array().unwrap().len(), 15);
        assert!(["edema", "core"].iter().all(|class| dice(table, &[], class) > high), "with all channels");
    }
    assert!(dice(&plain, &["FLAIR"], "edema") < low, "T2 would be enough, but that was not learnt");
    for missing in [&["T1"][..], &["T2"], &["FLAIR"], &["T1", "T2"], &["T1", "T1ce", "FLAIR"]] {
        assert!(dice(&sparse, missing, "edema") > high, "the edema without {missing:?}");
    }
    assert!(dice(&sparse, &["T1", "T2", "FLAIR"], "core") > high);
    for table in [&plain, &sparse] {
        assert!(dice(table, &["T1ce"], "core") < low, "nothing shows the core");
    }
    let rows = std::fs::read_to_string(place.path("sparse.tsv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + 15 * 2);
}

/// The demonstration of docs/src/missing-sequences.md in short.
#[test]
fn sparsified_training_loses_a_class_only_with_the_channel_that_shows_it() {
    compare("epochs = 4\niterations_per_epoch = 150\nvalidation_iterations = 5\n", [8, 16], [0.8, 0.7]);
}
