//! Label images are stored as the reference stores them: u8 if every label is below 255, else u16.

use std::path::Path;

use super::voxels::StoredVoxel;
use nnunet_volume::Volume;
use nnunet_volume::error::{Result, VolumeError};

/// Writes a volume of any of the two types.
pub(super) trait WriteVolume {
    /// Writes `volume`.
    fn write<T: StoredVoxel>(&self, volume: &Volume<T>) -> Result<()>;
}

/// Hands `labels` to `writer` in the smaller type that holds them.
pub(super) fn write_labels<L: Copy + Into<u32>>(
    path: &Path,
    labels: &Volume<L>,
    writer: &impl WriteVolume,
) -> Result<()> {
    let largest: u32 = labels.data().iter().map(|&v| v.into()).max().unwrap_or(0);
    let unfit = || VolumeError::Unsupported {
        path: path.to_owned(),
        found: format!("label {largest}"),
        expected: "labels up to 65535",
        advice: "Renumber the labels.",
    };
    if largest < 255 {
        let bytes = labels.data().iter().map(|&v| v.into() as u8).collect();
        writer.write(&Volume::new(labels.shape(), bytes).ok_or_else(unfit)?)
    } else if largest <= u32::from(u16::MAX) {
        let words = labels.data().iter().map(|&v| v.into() as u16).collect();
        writer.write(&Volume::new(labels.shape(), words).ok_or_else(unfit)?)
    } else {
        Err(unfit())
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
