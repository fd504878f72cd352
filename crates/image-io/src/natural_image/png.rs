//! PNG, decoded with the `png` crate.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use ::png::{BitDepth, ColorType, Decoder, Encoder, Limits, Reader, Transformations};

use super::super::voxels::{StoredVoxel, check_room};
use super::{Pixels, check_sides, unpack, with_palette};
use crate::VoxelType;
use crate::write_file;
use nnunet_volume::error::{Result, VolumeError};

fn damaged(path: &Path, error: ::png::DecodingError) -> VolumeError {
    VolumeError::DamagedCompression { path: path.to_owned(), source: std::io::Error::other(error) }
}

/// A decoder behind the header, and (channels, height, width).
fn open<R: BufRead + Seek>(path: &Path, stream: R) -> Result<(Reader<R>, [usize; 3])> {
    let mut decoder = Decoder::new_with_limits(stream, Limits { bytes: 1 << 26 });
    decoder.set_transformations(Transformations::IDENTITY);
    let reader = decoder.read_info().map_err(|e| damaged(path, e))?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    check_sides(path, width, height)?;
    let channels = match info.color_type {
        ColorType::Grayscale => 1,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
        ColorType::GrayscaleAlpha => {
            return Err(VolumeError::Unsupported {
                path: path.to_owned(),
                found: "grey with transparency".into(),
                expected: "grey, RGB or RGBA",
                advice: "Remove the alpha channel.",
            });
        }
    };
    Ok((reader, [channels, height, width]))
}

/// (channels, height, width), from the header.
pub(super) fn read_shape<R: BufRead + Seek>(path: &Path, stream: R) -> Result<[usize; 3]> {
    Ok(open(path, stream)?.1)
}

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Pixels> {
    let damaged = |e: ::png::DecodingError| damaged(path, e);
    let (mut reader, [channels, height, width]) = open(path, Cursor::new(bytes))?;
    let info = reader.info();
    let palette: Vec<[u8; 3]> = info.palette.as_deref().unwrap_or_default().as_chunks::<3>().0.to_vec();
    let (kind, depth) = (info.color_type, info.bit_depth);
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    check_room(path, size as u64, bytes.len() as u64, true)?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(damaged)?;
    // The end of the file holds checksums of what was read.
    reader.finish().map_err(damaged)?;
    let rows = buffer.chunks_exact(frame.line_size).take(height);
    let bits = depth as usize;
    let mut stored_type = VoxelType::U8;
    let values: Vec<f32> = match (kind, depth) {
        (ColorType::Indexed, _) => {
            with_palette(path, rows.flat_map(|row| unpack(row, bits, width)), &palette)?
        }
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            stored_type = VoxelType::U16;
            rows.flat_map(|row| row.as_chunks::<2>().0).map(|v| f32::from(u16::from_be_bytes(*v))).collect()
        }
        // The high byte.
        (_, BitDepth::Sixteen) => rows.flat_map(|row| row.iter().step_by(2)).map(|&v| f32::from(v)).collect(),
        (ColorType::Grayscale, _) => {
            // Two grey levels are black and white, 0 and 1; others are spread over 0 to 255.
            let scale = match bits {
                2 => 85.0,
                4 => 17.0,
                _ => 1.0,
            };
            rows.flat_map(|row| unpack(row, bits, width)).map(|v| f32::from(v) * scale).collect()
        }
        _ => rows.flatten().map(|&v| f32::from(v)).collect(),
    };
    Ok(Pixels { width, height, channels, values, stored_type })
}

/// Writes grey of 8 or 16 bits.
pub(super) fn write<T: StoredVoxel>(path: &Path, width: usize, height: usize, data: &[T]) -> Result<()> {
    let mut raw = Vec::with_capacity(size_of_val(data));
    for v in data {
        let at = raw.len();
        v.encode(&mut raw);
        // PNG stores the high byte first.
        raw[at..].reverse();
    }
    let depth = if size_of::<T>() == 2 { BitDepth::Sixteen } else { BitDepth::Eight };
    write_file(path, |file| {
        let mut encoder = Encoder::new(file, width as u32, height as u32);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().map_err(std::io::Error::other)?;
        writer.write_image_data(&raw).map_err(std::io::Error::other)?;
        writer.finish().map_err(std::io::Error::other)
    })
}
