//! What surrounds the verbs: 3D Slicer, shells, manual pages, `doctor`, logs, and the flags of `evaluate`.

// Helpers of tests fail the test by panicking; trainings show what they have reached.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod completions;
mod doctor;
mod evaluate;
mod logs;
mod man;
mod missing_sequences;
mod partial_labels;
mod slicer;

use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::PhantomDataset;

use common::Place;

/// Name of the model's folder, as a training of these plans and trainer calls it.
const MODEL: &str = "nnUNetTrainer__tiny__3d_fullres";

/// A place with the small trained model among the results, and one image in `images`.
fn place_with_model() -> Place {
    let place = Place::new();
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        let target = place.path("res").join(common::DATASET).join(MODEL).join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(ball_model().join(file), target).unwrap();
    }
    PhantomDataset::default().write_case(&place.path("images"), &place.path("labels"), "volume", 100);
    place
}
