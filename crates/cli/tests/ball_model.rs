//! Makes the model that other tests predict with, `testkit/data/ball_model`:
//! `cargo test -p nnunet-cli --test ball_model -- --ignored` trains for about a minute and replaces it.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{DATASET, Place};
use nnunet_checkpoint::Checkpoint;
use nnunet_testkit::model::ball_model;

#[test]
#[ignore = "replaces the model in the repository"]
fn make() {
    let place = Place::new();
    place.prepare();
    place.succeed("train 7 3d_fullres 0 -p tiny --epochs 4 --iterations-per-epoch 150 --threads 2");
    let made = place.path("res").join(DATASET).join("nnUNetTrainer_4epochs__tiny__3d_fullres");
    let target = ball_model();
    std::fs::create_dir_all(target.join("fold_0")).unwrap();
    for file in ["plans.json", "dataset.json"] {
        std::fs::copy(made.join(file), target.join(file)).unwrap();
    }
    let name = "fold_0/checkpoint_final.pth";
    // The momentum is half of the file and of no use here.
    let mut checkpoint = Checkpoint::read(&made.join(name)).unwrap();
    checkpoint.optimiser = None;
    checkpoint.write(&target.join(name)).unwrap();
}
