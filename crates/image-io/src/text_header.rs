//! Files that begin with lines of text and go on with voxels: the part that MetaImage and NRRD share.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::stream::{ByteStream, Compression};
use super::voxels::{Encoding, check_room, read_up_to, read_voxels, voxel_count};
use crate::{Image, ImageWarning};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, Volume};

/// Longest header that is read: those of segmentations list their segments, which can be thousands.
const MAX_HEADER: usize = 1 << 26;
/// Bytes of a header that are read at a time.
const PORTION: usize = 1 << 16;

/// The beginning of a file.
pub(super) struct Start {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
    file: File,
    file_len: u64,
}

/// Bytes around the voxels that belong to neither header nor image; of compressed files those of the decompressed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// So many between the header and the voxels.
    Before(u64),
    /// Any number before the voxels, and so many behind them.
    AllBut(u64),
}

/// What a text header says, in the terms of [`Image`].
pub(super) struct Described {
    /// First byte behind the header.
    pub(super) offset: usize,
    /// Where the voxels lie behind it.
    pub(super) skip: Skip,
    pub(super) shape: [usize; 3],
    pub(super) geometry: Geometry,
    pub(super) encoding: Encoding,
    pub(super) compression: Compression,
    /// What is unusual about the header.
    pub(super) warnings: Vec<ImageWarning>,
}

/// Keys and values of a header, in its order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    list: Vec<(String, String)>,
}

impl Fields {
    pub(super) fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.list.push((key.into(), value.into()));
    }

    /// The value of `key`, the last one if there are several.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.list.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of the first of `keys` that the header has.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// A warning for each of `keys` that has several values.
    pub(super) fn repeated<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Vec<ImageWarning> {
        let differs = |key: &&str| {
            let last = self.get(key);
            self.list.iter().any(|(k, value)| k == key && last != Some(value))
        };
        let warning = |key: &str| ImageWarning::RepeatedKey { key: key.to_owned() };
        keys.into_iter().filter(differs).map(warning).collect()
    }
}

impl Start {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        Ok(Self { path: path.to_owned(), bytes: Vec::new(), file, file_len })
    }

    /// The line that begins at `at`, without its end, and where the next one begins. `None` if it has no end.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub(super) fn line(&mut self, at: usize) -> Result<Option<(String, usize)>> {
        let mut searched = at;
        loop {
            let rest = self.bytes.get(searched..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|&b| b == b'\n') {
                let end = searched + length;
                let text = String::from_utf8_lossy(&self.bytes[at..end]);
                return Ok(Some((text.trim_end_matches('\r').to_owned(), end + 1)));
            }
            searched = self.bytes.len();
            if !self.read_on()? {
                return Ok(None);
            }
        }
    }

    /// Reads another portion of the header. False at the end of the file, or of what a header may have.
    fn read_on(&mut self) -> Result<bool> {
        let known = self.bytes.len();
        let portion = PORTION.min(MAX_HEADER.saturating_sub(known));
        self.bytes.resize(known + portion, 0);
        let got = read_up_to(&mut self.file, &mut self.bytes[known..])
            .map_err(|e| VolumeError::io(&self.path, "read it", e))?;
        self.bytes.truncate(known + got);
        Ok(got > 0)
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

    /// Refuses directions (row-major) that do not span the `dimension` axes, as ITK does.
    pub(super) fn check_directions(
        &self,
        field: &str,
        text: &str,
        direction: &[f64; 9],
        dimension: usize,
    ) -> Result<()> {
        let mut columns = [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]];
        for (axis, column) in columns.iter_mut().enumerate().take(dimension) {
            *column = [0, 1, 2].map(|row| direction[3 * row + axis]);
            let length = column.iter().map(|v| v * v).sum::<f64>().sqrt();
            column.iter_mut().for_each(|v| *v /= length);
        }
        let [a, b, c] = columns;
        let volume = a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0]);
        // Not a number where an axis has no length.
        if volume.abs() > 1e-6 {
            return Ok(());
        }
        Err(self.bad(field, text, format!("{dimension} independent axes")))
    }

    /// Bytes from `offset` to the end of the file, decompressed.
    fn length_of_stream(&self, offset: usize, compression: Compression) -> Result<u64> {
        if compression == Compression::None {
            return Ok(self.file_len.saturating_sub(offset as u64));
        }
        // A second look at the file instead of memory for all that is not voxels.
        let failed = |e| VolumeError::io(&self.path, "read it", e);
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset as u64)).map_err(failed)?;
        let mut stream = ByteStream::new(Vec::new(), file, compression);
        std::io::copy(&mut stream, &mut std::io::sink()).map_err(failed)
    }

    /// The image behind the header.
    pub(super) fn image(mut self, described: Described) -> Result<Image> {
        let Described { offset, skip, shape, geometry, encoding, compression, mut warnings } = described;
        let count = voxel_count(&self.path, shape)?;
        let expected = count.saturating_mul(encoding.voxel_type.bytes() as u64);
        let stored = self.file_len.saturating_sub(offset as u64);
        let skipped = match skip {
            Skip::Before(bytes) => bytes,
            Skip::AllBut(behind) => {
                // Before memory is taken; what does not fit is found there.
                check_room(&self.path, expected, stored, compression != Compression::None)?;
                self.length_of_stream(offset, compression)?.saturating_sub(behind).saturating_sub(expected)
            }
        };
        let path = &self.path;
        let is_compressed = compression != Compression::None;
        let room = if is_compressed { stored } else { stored.saturating_sub(skipped) };
        check_room(path, expected, room, is_compressed)?;
        let head = self.bytes.split_off(offset.min(self.bytes.len()));
        let mut stream = ByteStream::new(head, self.file, compression);
        let failed = |e| VolumeError::io(path, "read it", e);
        if std::io::copy(&mut (&mut stream).take(skipped), &mut std::io::sink()).map_err(failed)? < skipped {
            let found = format!("it ends within the {skipped} bytes that are to be skipped before them");
            return Err(VolumeError::Truncated { path: path.to_owned(), expected, found });
        }
        let (data, mut unusual) = read_voxels(path, &[], &mut stream, &encoding, count)?;
        if matches!(skip, Skip::AllBut(behind) if behind > 0) {
            // The header says that they are there.
            unusual.retain(|warning| *warning != ImageWarning::BytesBehindVoxels);
        }
        warnings.extend(unusual);
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
