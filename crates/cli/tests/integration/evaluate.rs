//! The flags of `evaluate` beyond the reference's.

use nnunet_image_io::nifti;
use serde_json::Value;

use super::common::{DATASET, Place, text};

/// A place where the references stand for the predictions, but the first, which lacks the lower half of the foreground.
fn place() -> Place {
    let place = Place::new();
    let labels = place.path("raw").join(DATASET).join("labelsTr");
    std::fs::create_dir(place.path("pred")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&labels).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        std::fs::copy(file, place.path("pred").join(file.file_name().unwrap())).unwrap();
    }
    let mut first = nifti::read(&files[0]).unwrap();
    let foreground = first.volume.data().iter().filter(|value| **value > 0.0).count();
    let lower = first.volume.data_mut().iter_mut().filter(|value| **value > 0.0).take(foreground / 2);
    lower.for_each(|value| *value = 0.0);
    nifti::write(place.path("pred").join(files[0].file_name().unwrap()), &first.volume, &first.geometry)
        .unwrap();
    std::fs::rename(&labels, place.path("gt")).unwrap();
    place
}

fn summary(place: &Place) -> Value {
    serde_json::from_slice(&std::fs::read(place.path("pred/summary.json")).unwrap()).unwrap()
}

#[test]
fn metrics_are_added_to_the_table_and_the_summary() {
    let place = place();
    let table = place.succeed("evaluate gt pred -l 1 --metrics hd95,nsd@2,lesions,pq");
    let head = table.lines().next().unwrap();
    for name in ["Dice", "IoU", "hd95", "nsd@2"] {
        assert!(head.contains(name), "{name} in {head}");
    }
    // Not on a terminal the table has all of its columns in one line each.
    assert_eq!(table.lines().filter(|line| line.starts_with("class")).count(), 1, "{table}");
    let summary = summary(&place);
    let metrics = summary["metric_per_case"][1]["metrics"]["1"].as_object().unwrap();
    assert_eq!(metrics["Dice"], 1.0);
    let of = |start: &str| metrics.iter().find(|(key, _)| key.starts_with(start)).unwrap().1;
    assert_eq!(of("hd95"), &Value::from(0.0), "the second case is its own reference");
    assert_eq!(of("nsd"), &Value::from(1.0));

    let output = place.run("evaluate gt pred -l 1 --metrics hd59");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean hd95?"), "{}", text(&output.stderr));
}

#[test]
fn intervals_and_tables_are_written() {
    let place = place();
    place.succeed("evaluate gt pred -l 1 --bootstrap 200 --seed 3 --tsv table.tsv");
    let first = summary(&place);
    let text_of_summary = first.to_string();
    place.succeed("evaluate gt pred -l 1 --bootstrap 200 --seed 3");
    assert_eq!(summary(&place).to_string(), text_of_summary, "the same seed, the same intervals");
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert!(keys.len() > 3, "{keys:?}");
    let table = std::fs::read_to_string(place.path("table.tsv")).unwrap();
    let columns = table.lines().next().unwrap().split('\t').count();
    assert!(columns >= 4 && table.lines().all(|line| line.split('\t').count() == columns), "{table}");
    assert_eq!(place.run("evaluate gt pred -l 1 --bootstrap 0").status.code(), Some(2));
}

#[test]
fn volumes_are_compared_with_subjects_and_without() {
    let place = place();
    let said = place.succeed("evaluate gt pred -l 1 --volumetry --tsv table.tsv --margin 10 --threshold 20");
    assert!(said.lines().count() > 4, "{said}");
    assert!(place.path("table.volumetry.tsv").is_file());
    let metrics = &summary(&place)["metric_per_case"][1]["metrics"]["1"];
    assert_eq!(metrics["ml_pred"], metrics["ml_ref"]);
    assert_eq!(metrics["AVE"], 0.0);

    let mut table = "case\tsubject\ttime\tgroup\n".to_owned();
    for (i, entry) in std::fs::read_dir(place.path("gt")).unwrap().enumerate() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let case = name.trim_end_matches(".gz").trim_end_matches(".nii");
        table.push_str(&format!("{case}\ts{}\t{}\t{}\n", i / 2, i % 2, if i % 4 < 2 { "a" } else { "b" }));
    }
    std::fs::write(place.path("subjects.tsv"), table).unwrap();
    let with = place.succeed("evaluate gt pred -l 1 --volumetry --subjects subjects.tsv");
    assert!(with.contains("change") || with.contains("group"), "{with}");
    for words in ["--subjects subjects.tsv", "--margin 3", "--threshold 3"] {
        let output = place.run(&format!("evaluate gt pred -l 1 {words}"));
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(text(&output.stderr).contains("belongs to --volumetry"), "{words}");
    }
    assert_eq!(place.run("evaluate gt pred -l 1 --volumetry --subjects none.tsv").status.code(), Some(1));
}
