//! BMP without compression: 1, 4 and 8 bits with a palette, 24 and 32 bits.
//!
//! A palette that is the grey ramp (0, 1, 2, ... or black and white) makes the image grey, as in the reference; the
//! fourth byte of 32-bit pixels is not alpha.

use std::io::Write;
use std::path::Path;

use super::super::voxels::{StoredVoxel, check_room};
use super::{Pixels, check_sides, unpack, with_palette};
use crate::VoxelType;
use crate::write_file;
use nnunet_volume::error::{Result, VolumeError};

const FILE_HEADER: usize = 14;
const INFO_HEADER: usize = 40;

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Pixels> {
    let bad = |field: &str, found: String, expected: &str| VolumeError::BadHeader {
        path: path.to_owned(),
        field: field.into(),
        found,
        expected: expected.into(),
        advice: "Convert it to .png.",
    };
    let number = |at: usize, n: usize| -> Result<usize> {
        let raw =
            bytes.get(at..at + n).ok_or_else(|| bad("the header", "cut off".into(), "at least 54 bytes"))?;
        Ok(raw.iter().rev().fold(0, |v, &b| v << 8 | usize::from(b)))
    };
    let header = number(FILE_HEADER, 4)?;
    if !(INFO_HEADER..=124).contains(&header) {
        return Err(bad("the header's length", header.to_string(), "40 to 124"));
    }
    let offset = number(10, 4)?;
    let width = number(18, 4)?;
    let signed_height = number(22, 4)? as u32 as i32;
    let height = signed_height.unsigned_abs() as usize;
    check_sides(path, width, height)?;
    let bits = number(28, 2)?;
    let compression = number(30, 4)?;
    if compression != 0 || ![1, 4, 8, 24, 32].contains(&bits) {
        let found = format!("{bits} with compression {compression}");
        return Err(bad("bits per pixel", found, "1, 4, 8, 24 or 32 without compression"));
    }
    let row_bytes = (width * bits).div_ceil(32) * 4;
    let expected = row_bytes * height;
    check_room(path, expected as u64, bytes.len().saturating_sub(offset) as u64, false)?;
    let body = &bytes[offset..offset + expected];
    // Rows run from the bottom unless the height is negative.
    let rows = (0..height).map(|y| {
        let stored = if signed_height < 0 { y } else { height - 1 - y };
        &body[stored * row_bytes..][..row_bytes]
    });
    let mut channels = 3;
    let values = if bits <= 8 {
        let used = number(46, 4)?;
        let colours = if used == 0 { 1 << bits } else { used.min(1 << bits) };
        let palette: Vec<[u8; 3]> = bytes
            .get(FILE_HEADER + header..)
            .unwrap_or_default()
            .as_chunks::<4>()
            .0
            .iter()
            .take(colours)
            .map(|&[b, g, r, _]| [r, g, b])
            .collect();
        let ramp = |i: usize| if colours == 2 { 255 * i } else { i };
        let grey = palette.iter().enumerate().all(|(i, c)| c.iter().all(|&v| usize::from(v) == ramp(i)));
        let indices = rows.flat_map(|row| unpack(row, bits, width));
        if grey {
            channels = 1;
            indices.map(f32::from).collect()
        } else {
            with_palette(path, indices, &palette)?
        }
    } else {
        let step = bits / 8;
        rows.flat_map(|row| row.chunks_exact(step).take(width))
            .flat_map(|p| [p[2], p[1], p[0]])
            .map(f32::from)
            .collect()
    };
    Ok(Pixels { width, height, channels, values, stored_type: VoxelType::U8 })
}

/// Writes grey of 8 bits.
pub(super) fn write<T: StoredVoxel>(path: &Path, width: usize, height: usize, data: &[T]) -> Result<()> {
    let unfit = |found: String, expected: &'static str| VolumeError::Unsupported {
        path: path.to_owned(),
        found,
        expected,
        advice: "Write it as .png.",
    };
    if size_of::<T>() != 1 {
        return Err(unfit("an image of 16-bit labels".into(), "labels up to 254 in a BMP"));
    }
    check_sides(path, width, height)?;
    let row_bytes = width.div_ceil(4) * 4;
    let offset = FILE_HEADER + INFO_HEADER + 4 * 256;
    let total = u32::try_from(offset + row_bytes * height)
        .map_err(|_| unfit(format!("an image of {width} x {height}"), "less than 4 GiB in a BMP"))?;
    let mut head = Vec::with_capacity(offset);
    head.extend_from_slice(b"BM");
    for v in [total, 0, offset as u32, INFO_HEADER as u32, width as u32, height as u32] {
        head.extend_from_slice(&v.to_le_bytes());
    }
    // One plane of 8 bits.
    head.extend_from_slice(&[1, 0, 8, 0]);
    for v in [0, (row_bytes * height) as u32, 3780, 3780, 256, 256] {
        head.extend_from_slice(&v.to_le_bytes());
    }
    head.extend((0..=255u8).flat_map(|v| [v, v, v, 0]));
    write_file(path, |file| {
        file.write_all(&head)?;
        let mut row = Vec::with_capacity(row_bytes);
        for line in data.chunks_exact(width).rev() {
            row.clear();
            line.iter().for_each(|v| v.encode(&mut row));
            row.resize(row_bytes, 0);
            file.write_all(&row)?;
        }
        Ok(())
    })
}
