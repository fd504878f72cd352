//! The data of the demonstration: a small synthetic dataset, made by code.

mod phantom;

use std::path::Path;

use anyhow::Context;
use nnunet::files::write_atomic;
use nnunet::image_io::nifti;
use nnunet::volume::Geometry;
use serde_json::json;

/// Name of the demonstration's dataset.
pub(crate) const DATASET: &str = "Dataset900_Demo";

/// How many cases there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaseCounts {
    /// For training.
    pub(crate) training: u64,
    /// For the test.
    pub(crate) test: u64,
}

/// Writes the raw dataset into `folder`: imagesTr, labelsTr, imagesTs, labelsTs, dataset.json.
pub(crate) fn write_dataset(folder: &Path, counts: CaseCounts) -> anyhow::Result<()> {
    let parts = [("Tr", 0, counts.training), ("Ts", counts.training, counts.test)];
    for (part, first, count) in parts {
        let (images, labels) = (folder.join(format!("images{part}")), folder.join(format!("labels{part}")));
        for path in [&images, &labels] {
            std::fs::create_dir_all(path).with_context(|| format!("{}: cannot be made", path.display()))?;
        }
        for number in first..first + count {
            let case = phantom::make(number);
            let geometry = Geometry::with_spacing([1.0, 1.0, 1.2]);
            nifti::write(images.join(format!("demo_{number:03}_0000.nii.gz")), &case.image, &geometry)?;
            nifti::write_labels(labels.join(format!("demo_{number:03}.nii.gz")), &case.labels, &geometry)?;
        }
    }
    let json = json!({
        "channel_names": {"0": "synthetic"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": counts.training,
        "file_ending": ".nii.gz"
    });
    let path = folder.join("dataset.json");
    write_atomic(&path, format!("{json:#}\n").as_bytes())
        .with_context(|| format!("{}: cannot be written", path.display()))
}
