//! Makes a model of full size with random weights and an image for it, to measure memory and time of a
//! prediction:
//!
//! ```sh
//! cargo run --release -p nnunet --example random_model -- OUT 118 300 512 512 0.75
//! /usr/bin/time -v nnunet predict -i OUT/image_0000.nii.gz -o OUT/predictions -m OUT/model --disable_tta -step_size 1
//! ```
//!
//! Arguments: folder, number of classes with the background, voxels z y x of the image, its spacing in the
//! plane in mm. Slices are 1.5 mm apart, and the model works at 1.5 mm with patches of 128 x 128 x 128 and the
//! network that the default planner makes for them.

// A tool of developers may fail loudly.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;

use nnunet_checkpoint::{Checkpoint, StateDict};
use nnunet_data::Parts;
use nnunet_data::plan::Plans;
use nnunet_dataset::{DatasetJson, LabelManager};
use nnunet_graph::init;
use nnunet_infer::model::network_graph;
use nnunet_pyformats::pickle::{Dict, Value};
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::{NiftiFile, Voxels};
use serde_json::json;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [out, classes, z, y, x, spacing] = words.as_slice() else {
        println!("arguments: FOLDER CLASSES Z Y X SPACING");
        return;
    };
    let out = PathBuf::from(out);
    let model = out.join("model");
    std::fs::create_dir_all(model.join("fold_0")).unwrap();

    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(ball_model().join(name)).unwrap()).unwrap()
    };
    let mut plans = read("plans.json");
    let configuration = &mut plans["configurations"]["3d_fullres"];
    configuration["patch_size"] = json!([128, 128, 128]);
    configuration["spacing"] = json!([1.5, 1.5, 1.5]);
    let arguments = &mut configuration["architecture"]["arch_kwargs"];
    arguments["n_stages"] = json!(6);
    arguments["features_per_stage"] = json!([32, 64, 128, 256, 320, 320]);
    arguments["kernel_sizes"] = json!(vec![[3, 3, 3]; 6]);
    arguments["strides"] = json!([[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]);
    arguments["n_conv_per_stage"] = json!(vec![2; 6]);
    arguments["n_conv_per_stage_decoder"] = json!(vec![2; 5]);
    std::fs::write(model.join("plans.json"), plans.to_string()).unwrap();

    let mut dataset = read("dataset.json");
    let names = |class: usize| match class {
        0 => "background".to_owned(),
        class => format!("structure {class}"),
    };
    dataset["labels"] = (0..classes.parse().unwrap()).map(|class| (names(class), json!(class))).collect();
    std::fs::write(model.join("dataset.json"), dataset.to_string()).unwrap();

    let plans = Plans::read(model.join("plans.json")).unwrap();
    let dataset = DatasetJson::load(&model.join("dataset.json")).unwrap();
    let labels = LabelManager::new(&dataset).unwrap();
    let configuration = plans.configuration("3d_fullres").unwrap();
    let graph =
        network_graph(&configuration, &dataset, &labels, true, &Parts::default().architectures).unwrap();
    let weights = StateDict::from_parameters(&graph, init::initialise(&graph, 1));
    let mut init_args = Dict::new();
    init_args.insert("configuration", "3d_fullres");
    let mut checkpoint = Checkpoint::new(weights, "nnUNetTrainer", Value::Dict(init_args));
    checkpoint.mirroring_axes = Some(vec![0, 1, 2]);
    checkpoint.write(&model.join("fold_0/checkpoint_final.pth")).unwrap();

    let shape = [z, y, x].map(|edge| edge.parse::<usize>().unwrap());
    let spacing: f32 = spacing.parse().unwrap();
    // Structures of a few centimetres with noise on them.
    let mut random = 1u32;
    let mut voxels = Vec::with_capacity(shape.iter().product());
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            for x in 0..shape[2] {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wave = (z as f32 / 20.0).sin() + (y as f32 / 40.0).sin() + (x as f32 / 40.0).cos();
                voxels.push((wave * 200.0 + (random >> 26) as f32) as i16);
            }
        }
    }
    NiftiFile::new(shape, [1.5, spacing, spacing], Voxels::I16(voxels)).write(out.join("image_0000.nii.gz"));
    println!("{}: model and image_0000.nii.gz", out.display());
}
