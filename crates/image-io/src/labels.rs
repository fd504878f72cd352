//! Label images are stored as the reference stores them: u8 if every label is below 255, else u16.

use std::path::Path;

use nnunet_volume::Volume;
use nnunet_volume::error::{Result, VolumeError};

/// Labels (z, y, x) in the smaller type that holds them: as files store them.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredLabels {
    /// Every label is below 255.
    U8(Volume<u8>),
    /// Others up to 65535.
    U16(Volume<u16>),
}

impl StoredLabels {
    /// `labels` as they are stored in `path`, which errors name.
    ///
    /// # Errors
    /// A label above 65535.
    pub fn new<L: Copy + Into<u32>>(path: &Path, labels: &Volume<L>) -> Result<Self> {
        let largest: u32 = labels.data().iter().map(|&v| v.into()).max().unwrap_or(0);
        let unfit = || VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("label {largest}"),
            expected: "labels up to 65535",
            advice: "Renumber the labels.",
        };
        let shape = labels.shape();
        if largest < 255 {
            let bytes = labels.data().iter().map(|&v| v.into() as u8).collect();
            Volume::new(shape, bytes).map(Self::U8).ok_or_else(unfit)
        } else if largest <= u32::from(u16::MAX) {
            let words = labels.data().iter().map(|&v| v.into() as u16).collect();
            Volume::new(shape, words).map(Self::U16).ok_or_else(unfit)
        } else {
            Err(unfit())
        }
    }
}

/// Refuses to write several slices with the geometry of a flat image.
pub(super) fn check_flat(path: &Path, shape: [usize; 3], dimension: u8) -> Result<()> {
    if dimension != 2 || shape[0] == 1 {
        return Ok(());
    }
    Err(VolumeError::Unsupported {
        path: path.to_owned(),
        found: format!("a flat geometry for a volume of {} slices", shape[0]),
        expected: "one slice",
        advice: "Write it with the geometry of a volume.",
    })
}
