//! Flat TIFF images. As in scikit-image, a stack of three or four pages (or planes) is one RGB(A) image.

use std::path::Path;

use crate::ChannelImage;
use crate::tiff::{self, TiffArray, TiffShape};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{ChannelVolume, Geometry};

/// Where the channels of an array are.
enum Channels {
    One,
    Last,
    First,
}

fn arrange(path: &Path, shape: TiffShape) -> Result<(Channels, [usize; 3])> {
    match shape {
        TiffShape::Flat([height, width]) => Ok((Channels::One, [1, height, width])),
        TiffShape::Stack([height, width, c @ (3 | 4)]) => Ok((Channels::Last, [c, height, width])),
        TiffShape::Stack([c @ (3 | 4), height, width]) => Ok((Channels::First, [c, height, width])),
        TiffShape::Stack(shape) => Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("a stack of shape {shape:?}"),
            expected: "a grey, RGB or RGBA image",
            advice: "Name Tiff3DIO as the dataset's reader.",
        }),
    }
}

/// (channels, height, width), from the headers.
pub(super) fn read_shape(path: &Path) -> Result<[usize; 3]> {
    Ok(arrange(path, tiff::read_shape(path)?)?.1)
}

pub(super) fn read(path: &Path) -> Result<ChannelImage> {
    let TiffArray { shape, values, stored_type, warnings } = tiff::read(path)?;
    let (place, [channels, height, width]) = arrange(path, shape)?;
    let planar = match place {
        Channels::One | Channels::First => values,
        Channels::Last => {
            (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels).copied()).collect()
        }
    };
    let expected = (channels * height * width) as u64;
    let found = format!("there are {} values", planar.len());
    let channels = ChannelVolume::new(channels, [1, height, width], planar)
        .ok_or_else(|| VolumeError::Truncated { path: path.to_owned(), expected, found })?;
    let geometry = Geometry::flat([1.0; 2], [0.0; 2], [1., 0., 0., 1.]);
    Ok(ChannelImage { channels, geometry, stored_type, warnings })
}
