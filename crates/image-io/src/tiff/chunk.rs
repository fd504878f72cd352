//! The strips and tiles of a page: from compressed bytes to rows.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::page::Page;
use super::values::SampleType;

/// `PhotometricInterpretation` of luma and chroma.
const YCBCR: u64 = 6;

/// Undoes the difference between neighbours (`Predictor` 2) in a row of numbers of `bytes` bytes.
fn undo_differences(row: &mut [u8], bytes: usize, samples: usize, big_endian: bool) {
    let number = |b: &[u8]| {
        let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if big_endian { b.iter().fold(0, shift) } else { b.iter().rev().fold(0, shift) }
    };
    for at in (samples * bytes..row.len() - row.len() % bytes).step_by(bytes) {
        let before = at - samples * bytes;
        let sum = number(&row[at..at + bytes]).wrapping_add(number(&row[before..before + bytes]));
        let low_first = sum.to_le_bytes();
        let place = &mut row[at..at + bytes];
        place.copy_from_slice(&low_first[..bytes]);
        if big_endian {
            place.reverse();
        }
    }
}

/// Undoes the predictor of real numbers (`Predictor` 3): bytes as differences, sorted by significance.
fn undo_real_differences(row: &mut [u8], bytes: usize, samples: usize, big_endian: bool) {
    for at in samples..row.len() {
        row[at] = row[at].wrapping_add(row[at - samples]);
    }
    let sorted = row.to_vec();
    let count = row.len() / bytes;
    for i in 0..count {
        for significance in 0..bytes {
            let place = if big_endian { significance } else { bytes - 1 - significance };
            row[i * bytes + place] = sorted[significance * count + i];
        }
    }
}

impl Page {
    /// The bytes of `rows` rows of a strip or tile, from what is stored of it. Says in words what is wrong.
    pub(super) fn expand(
        &self,
        mut stored: Vec<u8>,
        rows: usize,
        big_endian: bool,
    ) -> Result<Vec<u8>, String> {
        if self.low_bits_first {
            stored.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        let row_bytes = self.chunk_row_bytes();
        if self.is_jpeg() {
            return self.expand_jpeg(stored, rows);
        }
        let mut bytes = self.compression.decode(stored, rows * row_bytes)?;
        let samples = self.samples_in_chunk();
        let size = self.sample_type.bits() / 8;
        match self.predictor {
            2 => bytes
                .chunks_exact_mut(row_bytes)
                .for_each(|row| undo_differences(row, size, samples, big_endian)),
            3 => bytes
                .chunks_exact_mut(row_bytes)
                .for_each(|row| undo_real_differences(row, size, samples, big_endian)),
            _ => {}
        }
        Ok(bytes)
    }

    fn expand_jpeg(&self, stored: Vec<u8>, rows: usize) -> Result<Vec<u8>, String> {
        let stream = match self.jpeg_tables.as_slice() {
            // Tables without their end marker, the picture without its start marker.
            [tables @ .., _, _] if stored.len() > 2 => [tables, &stored[2..]].concat(),
            _ => stored,
        };
        let invalid = |e: &dyn std::fmt::Display| format!("invalid or unusual JPEG data ({e})");
        let samples = self.samples_in_chunk();
        let mut decoder = JpegDecoder::new(ZCursor::new(stream));
        decoder.decode_headers().map_err(|e| invalid(&e))?;
        let colours = match (self.photometric, decoder.input_colorspace()) {
            (YCBCR, _) if samples == 3 => Some(ColorSpace::RGB),
            (_, stored) => stored,
        };
        if let Some(colours) = colours {
            decoder.set_options(DecoderOptions::default().jpeg_set_out_colorspace(colours));
        }
        let [width, height] = decoder.dimensions().map_or([0, 0], |(width, height)| [width, height]);
        let tall = height < rows || height > self.chunk_height.next_multiple_of(16);
        if width != self.chunk_width || tall || self.sample_type.bits() != 8 {
            let expected = self.chunk_width;
            return Err(format!("a JPEG picture of {width} x {height} in a strip of {expected} x {rows}"));
        }
        let mut pixels = decoder.decode().map_err(|e| invalid(&e))?;
        let expected = rows * self.chunk_row_bytes();
        if pixels.len() != width * height * samples {
            return Err(format!("{} values in a JPEG picture of {width} x {height}", pixels.len()));
        }
        pixels.truncate(expected);
        Ok(pixels)
    }

    fn is_jpeg(&self) -> bool {
        self.compression == super::compression::Compression::Jpeg
    }

    /// Bytes of a row of a strip or tile.
    pub(super) fn chunk_row_bytes(&self) -> usize {
        self.chunk_width
            .saturating_mul(self.samples_in_chunk())
            .saturating_mul(self.sample_type.bits())
            .div_ceil(8)
    }

    /// Values of a pixel that lie side by side.
    pub(super) fn samples_in_chunk(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Whether rows can be undone: predictors are for whole bytes.
    pub(super) fn predictor_fits(&self) -> bool {
        match self.predictor {
            1 => true,
            2 => !matches!(self.sample_type, SampleType::Packed(_)),
            3 => {
                matches!(self.sample_type, SampleType::F16)
                    || matches!(self.sample_type, SampleType::Voxel(kind) if !kind.is_integer())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up_by_hand() {
        let mut row = [1, 250, 2, 10, 3, 1];
        undo_differences(&mut row, 1, 2, false);
        assert_eq!(row, [1, 250, 3, 4, 6, 5]);
        let mut row = [0, 255, 0, 1, 0, 1];
        undo_differences(&mut row, 2, 1, true);
        assert_eq!(row, [0, 255, 1, 0, 1, 1]);
    }

    #[test]
    fn real_numbers_come_back_in_both_byte_orders() {
        let values = [1.5f32, -2.0, 1e9, 0.0];
        let mut sorted: Vec<u8> = (0..4).flat_map(|s| values.map(|v| v.to_be_bytes()[s])).collect();
        for at in (1..sorted.len()).rev() {
            sorted[at] = sorted[at].wrapping_sub(sorted[at - 1]);
        }
        let (mut little, mut big) = (sorted.clone(), sorted);
        undo_real_differences(&mut little, 4, 1, false);
        undo_real_differences(&mut big, 4, 1, true);
        assert_eq!(little, values.map(f32::to_le_bytes).concat());
        assert_eq!(big, values.map(f32::to_be_bytes).concat());
    }
}
