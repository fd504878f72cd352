//! `report` as a user calls it, on a phantom that is planned, trained and evaluated.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Place, text};

#[test]
fn a_dataset_a_training_and_an_evaluation_become_pages() {
    let place = Place::new();
    let read = |path: &str| std::fs::read_to_string(place.path(path)).unwrap();

    // Before planning there is no plan, which is said once, and no usual place for the page.
    let output = place.run("report dataset -d 7 -o early.html --progress plain");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("warning").count(), 1, "{said}");
    assert!(said.contains("has no fingerprint; plan and preprocess it first"), "{said}");
    assert!(read("early.html").contains("No plans: "));

    place.prepare();
    place.succeed("report dataset -d 7 -p tiny --figures figures");
    let page = read("pre/Dataset007_Balls/report.html");
    assert!(page.contains("shell") && page.contains("patch_size"), "classes and plans are there");
    assert!(page.len() < 1_000_000, "{}", page.len());
    let figures: Vec<_> =
        std::fs::read_dir(place.path("figures")).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(
        figures.len() > 4 && figures.iter().all(|f| f.extension().is_some_and(|e| e == "svg")),
        "{figures:?}"
    );

    place.succeed("train 7 3d_fullres 0 -p tiny --epochs 2 --iterations-per-epoch 1 --threads 1");
    let model = "res/Dataset007_Balls/nnUNetTrainer_2epochs__tiny__3d_fullres";
    place.succeed(&format!("report training {model}"));
    let page = read(&format!("{model}/report.html"));
    for shown in ["Loss, fold 0", "Waiting for batches, fold 0", "Learning rate, fold 0", "Worst: ball_"] {
        assert!(page.contains(shown), "{shown}");
    }
    // The images of the raw dataset are found by the name of the dataset in the path.
    assert!(page.contains("data:image/png;base64,"));

    place.succeed("report compare -d 7 --figures comparison");
    let page = read("res/Dataset007_Balls/report.html");
    assert!(page.contains("nnUNetTrainer_2epochs__tiny__3d_fullres") && page.contains("Dice of each case"));
    assert!(place.path("comparison/01_dice.svg").exists());
    assert!(!place.run("report training res -d 7").status.success());

    let summary = format!("{model}/fold_0/validation/summary.json");
    place.succeed(&format!("report evaluation {summary} -djfile {model}/dataset.json -o evaluation.html"));
    let page = read("evaluation.html");
    assert!(page.contains("shell") && page.contains("contours alone"));
}
