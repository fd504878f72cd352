//! Probabilities (`.npz`) of a member of an ensemble, merged to a segmentation. An array alone (`.npy`) is packed
//! first: a change of its bytes would not survive the checksum.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nnunet::Ctx;
use nnunet::dataset::{DatasetJson, ImageReader, LabelManager, image_formats};
use nnunet::ensemble::{MergeJob, Merger};
use nnunet::json::Json;
use nnunet::progress::{Cancel, Silent};
use nnunet::workers::Workers;
use nnunet_fuzz::{with_file, zip_of};

/// A golden case, to whose properties the probabilities have to fit.
macro_rules! case {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/nnunet/tests/golden/selection/regions/in0/", $name)
    };
}

static LABELS: LazyLock<LabelManager> = LazyLock::new(|| {
    let document = Json::parse(include_str!(case!("dataset.json"))).expect("a golden is valid");
    let dataset = DatasetJson::from_json(document, Path::new("dataset.json")).expect("a golden is valid");
    LabelManager::new(&dataset).expect("a golden is valid")
});

static READER: LazyLock<ImageReader> = LazyLock::new(|| {
    let path = Path::new("dataset.json");
    ImageReader::new(&image_formats(), Some("SimpleITKIO"), ".nii", path).expect("it is built in")
});

fuzz_target!(|bytes: &[u8]| {
    let packed = bytes.starts_with(b"\x93NUMPY").then(|| zip_of(&[("probabilities.npy", bytes)]));
    with_file(packed.as_deref().unwrap_or(bytes), ".npz", |path| {
        std::fs::write(path.with_extension("pkl"), include_bytes!(case!("r0.pkl"))).expect("memory is there");
        let merger = Merger {
            labels: &LABELS,
            reader: &READER,
            file_ending: ".nii",
            output: path.parent().expect("a file lies in a folder"),
            save_probabilities: false,
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let job = MergeJob { identifier: format!("{name}-merged"), probabilities: vec![path.to_owned()] };
        let jobs = [job];
        let cancel = Cancel::new();
        let ctx = Ctx::new(&Silent, &cancel);
        let workers = Workers::within_available(&merger.needs(&jobs), ctx);
        let _ = merger.merge_all(&jobs, &workers, ctx);
    });
});
