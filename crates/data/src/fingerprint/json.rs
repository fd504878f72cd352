//! `dataset_fingerprint.json`, byte for byte in the reference's layout.

use std::path::{Path, PathBuf};

use super::{Fingerprint, FingerprintError, IntensityStatistics};
use nnunet_pyformats::json::{Json, KeyOrder};

impl IntensityStatistics {
    /// The statistics under their names, in the order of the file.
    fn entries(&self) -> [(&'static str, f64); 7] {
        [
            ("max", self.max),
            ("mean", self.mean),
            ("median", self.median),
            ("min", self.min),
            ("percentile_00_5", self.percentile_00_5),
            ("percentile_99_5", self.percentile_99_5),
            ("std", self.std),
        ]
    }

    /// The entry of a channel in fingerprints and plans.
    pub fn to_json(&self) -> Json {
        Json::object(self.entries().map(|(key, value)| (key, value.into())))
    }
}

impl Fingerprint {
    /// `foreground_intensity_properties_per_channel`: channel index (as text) to statistics.
    pub fn intensities_json(&self) -> Json {
        let channels = self.foreground_intensities.iter().enumerate();
        Json::object(channels.map(|(c, statistics)| (c.to_string(), statistics.to_json())))
    }

    /// The document, its keys in the file's order (channels by number).
    pub fn to_json(&self) -> Json {
        Json::object([
            ("foreground_intensity_properties_per_channel", self.intensities_json()),
            ("median_relative_size_after_cropping", self.median_relative_size_after_cropping.into()),
            ("shapes_after_crop", self.shapes_after_crop.as_slice().into()),
            ("spacings", self.spacings.as_slice().into()),
        ])
    }

    /// Where it lies in the folder of a preprocessed dataset.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("dataset_fingerprint.json")
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), FingerprintError> {
        Ok(self.to_json().save(path, KeyOrder::Kept)?)
    }

    /// Reads a file, ours or the reference's.
    pub fn load(path: &Path) -> Result<Self, FingerprintError> {
        let document = Json::load(path)?;
        let bad = |key: &str, expected| FingerprintError::BadFile {
            path: path.to_owned(),
            key: key.to_owned(),
            expected,
        };
        let triples = |key: &str| -> Result<Vec<[f64; 3]>, FingerprintError> {
            let expected = "a list of three numbers for each case";
            let items = document.get(key).and_then(Json::as_array).ok_or_else(|| bad(key, expected))?;
            items
                .iter()
                .map(|item| match item.as_array() {
                    Some([a, b, c]) => Some([a.as_f64()?, b.as_f64()?, c.as_f64()?]),
                    _ => None,
                })
                .collect::<Option<_>>()
                .ok_or_else(|| bad(key, expected))
        };
        let shapes = "shapes_after_crop";
        let shapes_after_crop = triples(shapes)?
            .into_iter()
            .map(|shape| {
                let valid = shape.iter().all(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 1e9);
                if valid { Ok(shape.map(|n| n as usize)) } else { Err(bad(shapes, "numbers of voxels")) }
            })
            .collect::<Result<_, _>>()?;
        let relative = "median_relative_size_after_cropping";
        let properties = "foreground_intensity_properties_per_channel";
        let channels = document.get(properties).and_then(Json::as_object);
        let channels = channels.ok_or_else(|| bad(properties, "an object with an entry for each channel"))?;
        let foreground_intensities = (0..channels.len())
            .map(|c| {
                let channel = channels.get(&c.to_string());
                let number = |key: &str| {
                    channel
                        .and_then(|s| s.get(key))
                        .and_then(Json::as_f64)
                        .ok_or_else(|| bad(&format!("{properties}.{c}.{key}"), "a number"))
                };
                Ok(IntensityStatistics {
                    max: number("max")?,
                    mean: number("mean")?,
                    median: number("median")?,
                    min: number("min")?,
                    percentile_00_5: number("percentile_00_5")?,
                    percentile_99_5: number("percentile_99_5")?,
                    std: number("std")?,
                })
            })
            .collect::<Result<_, FingerprintError>>()?;
        Ok(Self {
            spacings: triples("spacings")?,
            shapes_after_crop,
            foreground_intensities,
            median_relative_size_after_cropping: document
                .get(relative)
                .and_then(Json::as_f64)
                .ok_or_else(|| bad(relative, "a number"))?,
        })
    }
}
