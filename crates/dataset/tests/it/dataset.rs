//! dataset.json and labels against the reference's, and against whatever else may come.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nnunet_dataset::{DatasetJson, LabelManager, LabelOrRegion};
use nnunet_pyformats::json::{Json, KeyOrder};
use proptest::prelude::*;

fn parse(labels: &Json, order: &Json) -> Result<LabelManager, nnunet_dataset::DatasetError> {
    let document = Json::object([
        ("channel_names", Json::object([("0", "CT".into())])),
        ("labels", labels.clone()),
        ("regions_class_order", order.clone()),
        ("file_ending", ".nii.gz".into()),
    ]);
    LabelManager::new(&DatasetJson::from_json(document, Path::new("dataset.json"))?)
}

#[test]
fn labels_equal_the_references_label_manager() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/labels/labels.json");
    let golden = Json::load(Path::new(path)).unwrap();
    for case in golden.as_array().unwrap() {
        let labels = case.get("labels").unwrap();
        let result = parse(labels, case.get("regions_class_order").unwrap());
        let expected = case.get("expected").unwrap();
        if *expected == Json::Null {
            assert!(result.is_err(), "{labels:?}");
            continue;
        }
        let m = result.unwrap();
        let region = |r: &LabelOrRegion| match r {
            LabelOrRegion::Label(v) => Json::from(*v),
            LabelOrRegion::Region(v) => v.as_slice().into(),
        };
        let ours = Json::object([
            ("has_regions", Json::from(m.has_regions())),
            ("all_labels", m.all_labels().into()),
            ("foreground_labels", m.foreground_labels().into()),
            ("foreground_regions", Json::Array(m.foreground_regions().iter().map(region).collect())),
            ("keys", m.foreground().iter().map(LabelOrRegion::key).collect::<Vec<_>>().into()),
            ("ignore_label", m.ignore_label().into()),
            ("heads", m.num_segmentation_heads().into()),
        ]);
        assert_eq!(&ours, expected, "{labels:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let path = folder.path().join("file/summary.json");
    let message = Json::Null.save(&path, KeyOrder::Kept).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}: cannot write: ", path.display())), "{message}");
}

/// Any small document over the keys and values that a dataset.json has.
fn documents() -> impl Strategy<Value = Json> {
    let key = prop::sample::select(vec![
        "0",
        "1",
        "labels",
        "background",
        "ignore",
        "channel_names",
        "modality",
        "file_ending",
        "numTraining",
        "regions_class_order",
        "dataset",
        "images",
        "label",
        "overwrite_image_reader_writer",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        (0i64..4).prop_map(Json::Int),
        any::<f64>().prop_map(Json::Float),
        prop::sample::select(vec!["", ".", ".nii.gz", "None", "0", "CT", "$X/${Y"]).prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(Json::object),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_is_taken_or_refused(
        document in documents(), labels in documents(), dataset in documents(), complete in any::<bool>(),
    ) {
        let mut document = document;
        if let (true, Json::Object(entries)) = (complete, &mut document) {
            entries.insert("channel_names".into(), Json::object([("0", "CT".into())]));
            entries.insert("file_ending".into(), ".nii.gz".into());
            entries.insert("labels".into(), labels);
            entries.insert("dataset".into(), dataset);
        }
        if let Ok(mut json) = DatasetJson::from_json(document, Path::new("dataset.json")) {
            json.expand_variables(|_| Some("value".into()));
            let _ = LabelManager::new(&json);
            let _ = LabelManager::with_plain_labels(&json);
        }
    }
}
