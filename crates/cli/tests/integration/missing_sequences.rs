//! Sequences that cases lack, from dataset.json to the evaluation of every pattern.

use std::path::Path;

use nnunet_testkit::sequences::SequencesDataset;
use serde_json::{Value, json};

use crate::common::{Place, text};

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
    place.succeed(&format!("evaluate truth {recipe} --missing-patterns --tsv {recipe}.tsv"));
    read(&place.path(&format!("{recipe}/missing_patterns.json")))
}

/// Dice of a class for the pattern in which `missing` are missing.
fn dice(patterns: &Value, missing: &[&str], class: &str) -> f64 {
    let of = |pattern: &&Value| pattern["missing"] == json!(missing);
    let found = patterns["patterns"].as_array().unwrap().iter().find(of).unwrap();
    found["classes"][class]["Dice"].as_f64().unwrap()
}

/// Trains both recipes and compares what they lose without channels; Dice above `high` counts as found, below `low` as
/// lost.
fn compare(schedule: &str, features: [usize; 2], [high, low]: [f64; 2]) {
    let place = prepare(&SequencesDataset::default(), features);
    SequencesDataset { cases: 4, first: 100, ..Default::default() }
        .write_cases(&place.path("test"), &place.path("truth"));
    let [plain, sparse] = RECIPES.map(|(recipe, text)| patterns_of(&place, recipe, text, schedule));
    for table in [&plain, &sparse] {
        assert_eq!(table["patterns"].as_array().unwrap().len(), 15);
        assert!(["edema", "core"].iter().all(|class| dice(table, &[], class) > high), "with all channels");
        assert!(dice(table, &["T1ce"], "core") < low, "nothing shows the core");
        assert!(dice(table, &["T2", "FLAIR"], "edema") < low, "nothing shows the edema");
    }
    assert!(dice(&plain, &["T1ce"], "edema") < low, "T2 and FLAIR show it as ever, but that was not learnt");
    for missing in [&["T1"][..], &["T1ce"], &["T2"], &["FLAIR"], &["T1", "T2"], &["T1", "FLAIR"]] {
        assert!(dice(&sparse, missing, "edema") > high, "the edema without {missing:?}");
    }
    for missing in [&["T1"][..], &["T2"], &["FLAIR"]] {
        assert!(dice(&sparse, missing, "core") > high, "the core without {missing:?}");
    }
    let rows = std::fs::read_to_string(place.path("sparse.tsv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + 15 * 2);
}

/// The demonstration of docs/src/missing-sequences.md in short.
#[test]
fn sparsified_training_loses_a_class_only_with_the_channel_that_shows_it() {
    compare("epochs = 4\niterations_per_epoch = 150\nvalidation_iterations = 5\n", [8, 16], [0.75, 0.65]);
}

/// The numbers of docs/src/missing-sequences.md: `cargo test -p nnunet-cli --test integration -- --ignored --nocapture
/// long_sparsified` takes some minutes.
#[test]
#[ignore = "trains for some minutes"]
fn long_sparsified_training() {
    let schedule = "epochs = 10\niterations_per_epoch = 250\nvalidation_iterations = 5\n";
    compare(schedule, [16, 32], [0.8, 0.65]);
}

#[test]
fn cases_without_files_are_planned_trained_and_predicted() {
    let dataset = SequencesDataset { cases: 6, optional: vec!["T2", "FLAIR"], ..Default::default() };
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let raw = dataset.write(&place.path("raw"), NAME);
    let complete = dataset.cases;
    for (case, channel) in [(0, 2), (1, 3), (2, 2), (2, 3)] {
        std::fs::remove_file(raw.join(format!("imagesTr/head_{case:03}_{channel:04}.nii.gz"))).unwrap();
    }
    place.succeed("verify -d 9");
    plan(&place, [8, 16]);
    let fingerprint = read(&place.path("pre").join(NAME).join("dataset_fingerprint.json"));
    // Zeros in place of an absent channel would be the smallest values.
    let t2 = &fingerprint["foreground_intensity_properties_per_channel"]["2"];
    assert!(t2["min"].as_f64().unwrap() > 30.0, "{t2}");
    assert_eq!(fingerprint["spacings"].as_array().unwrap().len(), complete);

    let schedule = "epochs = 1\niterations_per_epoch = 10\nvalidation_iterations = 2\n";
    std::fs::write(place.path("sparse.toml"), format!("{schedule}{}", RECIPES[1].1)).unwrap();
    place.succeed("train 9 3d_fullres 0 -p tiny -tr sparse.toml --threads 2");
    let model = format!("res/{NAME}/sparse__tiny__3d_fullres");
    let predict = |rest: &str| place.run(&format!("predict -m {model} {rest}"));
    let succeed = |rest: &str| {
        let output = predict(rest);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    SequencesDataset { cases: 1, first: 50, ..Default::default() }
        .write_cases(&place.path("whole"), &place.path("truth"));
    let said = succeed("-i whole -o left_out --missing T2,FLAIR");
    assert!(!said.contains("has not learnt"), "{said}");
    // A file that is not there and one that is left out are the same.
    for channel in ["0002", "0003"] {
        std::fs::remove_file(place.path(&format!("whole/head_050_{channel}.nii.gz"))).unwrap();
    }
    succeed("-i whole -o without_file");
    let file = |folder: &str| std::fs::read(place.path(&format!("{folder}/head_050.nii.gz"))).unwrap();
    assert_eq!(file("left_out"), file("without_file"));

    let fails = |rest: &str, words: &str| {
        let output = predict(rest);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(words), "{words:?} in {}", text(&output.stderr));
    };
    fails("-i whole -o x --missing T1C", "no channel \"T1C\"");
    fails("-i whole -o x --missing T1,T1ce,T2,FLAIR", "all channels of the dataset are to be left out");
    std::fs::remove_file(place.path("whole/head_050_0001.nii.gz")).unwrap();
    fails(
        "-i whole -o x",
        "1 cases lack a file that they must have: head_050 (T1ce). Channels that may be missing: T2, FLAIR",
    );
    fails("-i whole -o x --missing T2 --missing-patterns", "give one of them");
    let output = place.run("evaluate truth left_out --missing-patterns");
    assert!(text(&output.stderr).contains("predict` with --missing-patterns"), "{}", text(&output.stderr));
    std::fs::remove_file(raw.join("imagesTr/head_003_0000.nii.gz")).unwrap();
    let output = place.run("verify -d 9");
    assert!(!output.status.success());
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("head_003_0000.nii.gz  channel 0 is missing"), "{said}");
    assert!(!said.contains("head_000_0002"), "{said}");
}
