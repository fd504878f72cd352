//! Fingerprints of small datasets against the reference's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use nnunet::dataset::DatasetJson;
use nnunet::dataset::cases::training_cases;
use nnunet::fingerprint::{Fingerprint, extract};
use nnunet::progress::{Cancel, Silent};

#[test]
fn cropped_channels_and_flat_images_equal_the_reference() {
    for name in ["Dataset001_Cropped", "Dataset002_Flat"] {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fingerprint")).join(name);
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        let ours = extract(&training_cases(&folder, &json).unwrap(), &json, &Silent, &Cancel::new()).unwrap();
        let reference = Fingerprint::load(&folder.join("dataset_fingerprint.json")).unwrap();
        assert_eq!(ours.spacings, reference.spacings, "{name}");
        assert_eq!(ours.shapes_after_crop, reference.shapes_after_crop, "{name}");
        assert_eq!(ours.median_relative_size_after_cropping, reference.median_relative_size_after_cropping);
        assert_eq!(ours.foreground_intensities.len(), reference.foreground_intensities.len());
        for (a, b) in ours.foreground_intensities.iter().zip(&reference.foreground_intensities) {
            assert_eq!((a.min, a.max, a.median), (b.min, b.max, b.median), "{name}");
            assert_eq!(
                (a.percentile_00_5, a.percentile_99_5),
                (b.percentile_00_5, b.percentile_99_5),
                "{name}"
            );
            // The reference sums 10^8 values in f32.
            let scale = b.max.abs().max(b.min.abs());
            assert!((a.mean - b.mean).abs() < 1e-6 * scale, "{name}: {} {}", a.mean, b.mean);
            assert!((a.std - b.std).abs() < 1e-6 * scale, "{name}: {} {}", a.std, b.std);
        }
    }
}
