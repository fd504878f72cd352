//! A phantom dataset that is ready to be trained on.

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::fingerprint::extract;
use nnunet_data::plan::{PlannerOptions, Plans, plan_dataset};
use nnunet_data::preprocess::{DatasetFolders, PreprocessOptions, preprocess_dataset};
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::{DatasetJson, Folders};
use nnunet_testkit::phantom::PhantomDataset;
use serde_json::Value;

/// Name of the dataset.
pub(crate) const NAME: &str = "Dataset007_Balls";

/// A preprocessed phantom dataset with a network that trains in milliseconds.
pub(crate) fn prepare(root: &Path) -> Folders {
    let raw = PhantomDataset::default().write(&root.join("raw"), NAME);
    let preprocessed = root.join("preprocessed").join(NAME);
    let dataset = DatasetJson::load(&raw.join("dataset.json")).unwrap();
    let cases = training_cases(&raw, &dataset).unwrap();
    let fingerprint = extract(&cases, &dataset, Ctx::new(&Silent, &Cancel::new())).unwrap();
    fingerprint.save(&preprocessed.join("dataset_fingerprint.json")).unwrap();
    plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &nnunet_data::Parts::default())
        .unwrap();
    let path = preprocessed.join("nnUNetPlans.json");
    let mut plans: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    nnunet_testkit::plans::shrink(&mut plans["configurations"]["3d_fullres"]);
    std::fs::write(&path, plans.to_string()).unwrap();
    let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
    let (plans, options) = (Plans::read(&path).unwrap(), PreprocessOptions::default());
    preprocess_dataset(
        folders,
        &dataset,
        &plans,
        &["3d_fullres"],
        &options,
        &nnunet_data::Parts::default(),
        Ctx::new(&Silent, &Cancel::new()),
    )
    .unwrap();
    Folders {
        raw: Some(root.join("raw")),
        preprocessed: Some(root.join("preprocessed")),
        results: Some(root.join("results")),
    }
}
