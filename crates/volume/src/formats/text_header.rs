//! Files that begin with lines of text and go on with voxels: the part that MetaImage and NRRD share.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::{GzDecoder, ZlibDecoder};

use super::voxels::{CHUNK, Encoding, check_room, read_up_to, read_voxels, voxel_count};
use crate::error::{Result, VolumeError};
use crate::{Geometry, Image, ImageWarning, Volume};

/// Longest header that is read.
const MAX_HEADER: usize = 1 << 16;

/// The beginning of a file.
pub(super) struct Start {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    file: File,
    file_len: u64,
}

/// How the voxels behind the header are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
    Gzip,
}

/// What a text header says, in the terms of [`Image`].
pub(super) struct Described {
    /// First byte behind the header.
    pub(super) offset: usize,
    pub(super) shape: [usize; 3],
    pub(super) geometry: Geometry,
    pub(super) encoding: Encoding,
    pub(super) compression: Compression,
}

impl Start {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        let mut bytes = vec![0; MAX_HEADER];
        let got = read_up_to(&mut file, &mut bytes).map_err(|e| VolumeError::io(path, "read it", e))?;
        bytes.truncate(got);
        Ok(Self { path: path.to_owned(), bytes, file, file_len })
    }

    /// The line that begins at `at`, without its end, and where the next one begins.
    pub(super) fn line(&self, at: usize) -> Option<(String, usize)> {
        let rest = self.bytes.get(at..)?;
        let length = rest.iter().position(|&b| b == b'\n')?;
        let text = String::from_utf8_lossy(&rest[..length]);
        Some((text.trim_end_matches('\r').to_owned(), at + length + 1))
    }

    pub(super) fn not_this_format(&self, format: &'static str, found: impl Into<String>) -> VolumeError {
        VolumeError::NotThisFormat { path: self.path.clone(), format, found: found.into() }
    }

    pub(super) fn bad(&self, field: &str, found: &str, expected: impl Into<String>) -> VolumeError {
        VolumeError::BadHeader {
            path: self.path.clone(),
            field: field.to_owned(),
            found: if found.is_empty() { "missing".into() } else { format!("{found:?}") },
            expected: expected.into(),
            advice: "The file is damaged or unusual: export it again.",
        }
    }

    pub(super) fn unsupported(
        &self,
        found: String,
        expected: &'static str,
        advice: &'static str,
    ) -> VolumeError {
        VolumeError::Unsupported { path: self.path.clone(), found, expected, advice }
    }

    /// The numbers in `text`, which must be `count` of them, all finite.
    pub(super) fn numbers(&self, field: &str, text: &str, count: usize) -> Result<Vec<f64>> {
        let numbers: Option<Vec<f64>> =
            text.split_whitespace().map(|t| t.parse().ok().filter(|v: &f64| v.is_finite())).collect();
        numbers
            .filter(|n| n.len() == count)
            .ok_or_else(|| self.bad(field, text, format!("{count} finite numbers")))
    }

    /// Shape (z, y, x) from lengths (x, y, z) in text, which must be two or three. Trailing dimensions of length one
    /// are dropped.
    pub(super) fn shape(&self, field: &str, text: &str) -> Result<([usize; 3], u8)> {
        let lengths: Option<Vec<usize>> =
            text.split_whitespace().map(|t| t.parse().ok().filter(|&n| n > 0)).collect();
        let mut lengths = lengths
            .filter(|l| !l.is_empty())
            .ok_or_else(|| self.bad(field, text, "positive whole numbers"))?;
        while lengths.len() > 3 && lengths.last() == Some(&1) {
            lengths.pop();
        }
        match lengths[..] {
            [x, y] => Ok(([1, y, x], 2)),
            [x, y, z] => Ok(([z, y, x], 3)),
            [_] => Err(self.bad(field, text, "two or three dimensions")),
            _ => Err(VolumeError::MoreThanThreeDimensions {
                path: self.path.clone(),
                shape: lengths.iter().map(|&l| l as u64).collect(),
            }),
        }
    }

    /// The image behind the header.
    pub(super) fn image(self, described: Described) -> Result<Image> {
        let Described { offset, shape, geometry, encoding, compression } = described;
        let path = &self.path;
        let count = voxel_count(path, shape)?;
        let expected = count.saturating_mul(encoding.voxel_type.bytes() as u64);
        let stored = self.file_len.saturating_sub(offset as u64);
        check_room(path, expected, stored, compression != Compression::None)?;
        let head = std::io::Cursor::new(self.bytes.get(offset..).unwrap_or_default().to_vec());
        let stream = std::io::BufReader::with_capacity(CHUNK, head.chain(self.file));
        let mut reader: Box<dyn Read> = match compression {
            Compression::None => Box::new(stream),
            Compression::Zlib => Box::new(ZlibDecoder::new(stream)),
            Compression::Gzip => Box::new(GzDecoder::new(stream)),
        };
        let (data, non_finite) = read_voxels(path, &[], &mut reader, &encoding, count)?;
        let mut warnings: Vec<_> =
            ImageWarning::non_finite(non_finite, encoding.zero_non_finite).into_iter().collect();
        let deviation = geometry.deviation_from_orthonormal();
        if deviation > 1e-4 {
            warnings.push(ImageWarning::NonOrthonormalDirection { deviation });
        }
        let volume = Volume::new(shape, data).ok_or_else(|| VolumeError::Truncated {
            path: path.to_owned(),
            expected,
            found: "fewer could be read".into(),
        })?;
        Ok(Image { volume, geometry, stored_type: encoding.voxel_type, scaled: false, warnings })
    }
}

/// The shortest text of `values` that reads back to the same bits, separated by spaces.
pub(super) fn spaced(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}
