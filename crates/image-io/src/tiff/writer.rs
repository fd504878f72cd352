//! Writing volumes of labels, page by page.

use std::path::Path;

use ::tiff::TiffError;
use ::tiff::encoder::colortype::{Gray8, Gray16};
use ::tiff::encoder::{Compression, DeflateLevel, TiffEncoder};
use ::tiff::tags::Tag;

use crate::voxels::StoredVoxel;
use crate::write_file;
use nnunet_volume::Volume;
use nnunet_volume::error::{Result, VolumeError};

/// Writes `volume` (8 or 16 bits a voxel) page by page. `as_volume`: a single page is marked as a volume of one slice.
pub(crate) fn write<T: StoredVoxel>(path: &Path, volume: &Volume<T>, as_volume: bool) -> Result<()> {
    let [_, height, width] = volume.shape();
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (width, height) =
        sides.filter(|(w, h)| *w > 0 && *h > 0).ok_or_else(|| VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("slices of {width} x {height}"),
            expected: "1 to 4294967295 voxels along each side",
            advice: "Write it as .nii.gz.",
        })?;
    let page_size = width as usize * height as usize;
    write_file(path, |file| {
        let other = std::io::Error::other::<TiffError>;
        let encoder = TiffEncoder::new(file).map_err(other)?;
        let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Balanced));
        let mut raw = Vec::with_capacity(size_of::<T>() * page_size);
        let noted = as_volume && volume.shape()[0] == 1;
        for page in volume.data().chunks_exact(page_size) {
            raw.clear();
            page.iter().for_each(|v| v.encode(&mut raw));
            // The note by which readers know a volume of one slice from a flat image.
            let note = format!("{{\"shape\": [1, {height}, {width}]}}");
            if size_of::<T>() == 2 {
                let words: Vec<u16> = raw.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
                let mut image = encoder.new_image::<Gray16>(width, height).map_err(other)?;
                if noted {
                    image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                }
                image.write_data(&words).map_err(other)?;
            } else {
                let mut image = encoder.new_image::<Gray8>(width, height).map_err(other)?;
                if noted {
                    image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                }
                image.write_data(&raw).map_err(other)?;
            }
        }
        Ok(())
    })
}
