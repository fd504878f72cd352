//! dataset.json, and the labels that it declares.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nnunet::dataset::{DatasetJson, LabelManager};
use nnunet::json::{Json, KeyOrder};

fuzz_target!(|text: &str| {
    let Ok(document) = Json::parse(text) else { return };
    // What is written means what was read.
    let written = document.to_python(KeyOrder::Kept);
    assert_eq!(Json::parse(&written).expect("own text").to_python(KeyOrder::Kept), written);
    if let Ok(dataset) = DatasetJson::from_json(document, Path::new("dataset.json")) {
        let _ = LabelManager::new(&dataset);
    }
});
