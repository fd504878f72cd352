//! What a dataset looks like: shapes, spacings, intensities of the foreground.
//!
//! The numbers go to `dataset_fingerprint.json`, which the planner reads.

pub mod crop;
mod error;
mod extract;
pub mod intensity;
mod json;
mod part_file;

pub use error::FingerprintError;
pub use extract::{CaseFacts, ExtractOptions, PartialFingerprint, extract, extract_partial, merge};
pub use intensity::IntensityStatistics;
pub use part_file::{Parts, extract_part};

/// What the planner knows of a dataset, as in `dataset_fingerprint.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// Spacing (z, y, x) in mm of each case.
    pub spacings: Vec<[f64; 3]>,
    /// Shape (z, y, x) in voxels of each case after cropping to nonzero.
    pub shapes_after_crop: Vec<[usize; 3]>,
    /// Foreground intensities of each channel.
    pub foreground_intensities: Vec<IntensityStatistics>,
    /// Median over the cases of voxels after / voxels before cropping.
    pub median_relative_size_after_cropping: f64,
}
