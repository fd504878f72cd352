//! NumPy's `.npy` arrays, alone or in `.npz` archives: reading their headers, and writing archives of one array.

use std::io::{self, Read, Write};
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use nnunet_base::files::{StopAtError, write_atomic_with};

/// Longest header that is read; NumPy's have about a hundred bytes.
const MAX_HEADER: usize = 1 << 16;

/// Type of the elements, low byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Signed 8 bit.
    I8,
    /// Signed 16 bit.
    I16,
    /// Signed 32 bit.
    I32,
    /// Signed 64 bit.
    I64,
    /// Unsigned 8 bit.
    U8,
    /// Unsigned 16 bit.
    U16,
}

impl Element {
    /// Each with NumPy's name.
    const NAMES: [(Self, &'static str); 9] = [
        (Self::F16, "<f2"),
        (Self::F32, "<f4"),
        (Self::F64, "<f8"),
        (Self::I8, "|i1"),
        (Self::I16, "<i2"),
        (Self::I32, "<i4"),
        (Self::I64, "<i8"),
        (Self::U8, "|u1"),
        (Self::U16, "<u2"),
    ];

    /// NumPy's name.
    fn name(self) -> &'static str {
        // The table has every variant, in the order of their declaration.
        Self::NAMES[self as usize].1
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// What the header of an array in C order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes up to the first value.
    pub length: usize,
    /// Type of the elements.
    pub element: Element,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
}

impl Header {
    /// Reads a header: magic, version, length, a Python dict. The error says what was found instead.
    pub fn read(source: &mut impl Read) -> Result<Self, String> {
        let mut start = [0u8; 10];
        source.read_exact(&mut start).map_err(|error| error.to_string())?;
        if start[..6] != *b"\x93NUMPY" {
            return Err("no NumPy array".to_owned());
        }
        let (text_length, start_length) = match start[6] {
            1 => (usize::from(u16::from_le_bytes([start[8], start[9]])), 10),
            2 | 3 => {
                let mut rest = [0u8; 2];
                source.read_exact(&mut rest).map_err(|error| error.to_string())?;
                (u32::from_le_bytes([start[8], start[9], rest[0], rest[1]]) as usize, 12)
            }
            version => return Err(format!("version {version}")),
        };
        if text_length > MAX_HEADER {
            return Err(format!("{text_length} bytes long"));
        }
        let mut text = vec![0u8; text_length];
        source.read_exact(&mut text).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let found = || format!("found {}", text.trim());
        let value = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        let name = value("descr").and_then(|rest| rest.split('\'').nth(1)).ok_or_else(found)?;
        let element = Element::NAMES.iter().find(|(_, known)| *known == name).ok_or_else(found)?.0;
        if !value("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
            return Err(found());
        }
        let shape =
            value("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(found)?.0;
        let shape: Option<Vec<usize>> =
            shape.split(',').map(str::trim).filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect();
        Ok(Self { length: start_length + text_length, element, shape: shape.ok_or_else(found)? })
    }

    /// Bytes of the whole array with its header, if that is a number of bytes at all.
    pub fn total(&self) -> Option<u64> {
        let values = self.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64))?;
        values.checked_mul(self.element.bytes() as u64)?.checked_add(self.length as u64)
    }
}

/// Version 1.0 of the `.npy` format: magic, length, a Python dict padded to 64 bytes. At most four axes.
fn header(element: Element, shape: &[usize]) -> Vec<u8> {
    let axes: Vec<String> = shape.iter().map(|length| format!("{length},")).collect();
    // A tuple of one keeps its comma.
    let axes = axes.join(" ");
    let axes = if shape.len() > 1 { axes.trim_end_matches(',') } else { &axes };
    let mut dict = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({axes}), }}", element.name());
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    header.extend_from_slice(dict.as_bytes());
    header
}

/// Writes an `.npz` file with the array `name`, as NumPy's `savez_compressed` does, whole or not at all; `values` writes
/// its elements, low byte first, in C order.
///
/// # Errors
/// When the file cannot be written.
pub fn write_npz(
    path: &Path,
    name: &str,
    element: Element,
    shape: &[usize],
    values: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write_atomic_with(path, |file| {
        let mut archive = ZipWriter::new(StopAtError::new(file));
        archive.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(true))?;
        archive.write_all(&header(element, shape))?;
        values(&mut archive)?;
        archive.finish()?.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_headers_are_read() {
        for shape in [vec![7], vec![3, 4], vec![2, 3, 4, 5]] {
            for (element, _) in Element::NAMES {
                let bytes = header(element, &shape);
                assert_eq!(bytes.len() % 64, 0);
                let expected = Header { length: bytes.len(), element, shape: shape.clone() };
                assert_eq!(Header::read(&mut bytes.as_slice()), Ok(expected));
            }
        }
    }

    fn bytes(version: u8, dict: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dict.len() as u16).to_le_bytes()),
            _ => bytes.extend((dict.len() as u32).to_le_bytes()),
        }
        bytes.extend(dict.as_bytes());
        bytes
    }

    #[test]
    fn headers_of_numpy() {
        let dict = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4, 5, 6), }  \n";
        for version in [1, 2] {
            let bytes = bytes(version, dict);
            let expected = Header { length: bytes.len(), element: Element::F16, shape: vec![3, 4, 5, 6] };
            assert_eq!(expected.total(), Some(bytes.len() as u64 + 720));
            assert_eq!(Header::read(&mut bytes.as_slice()), Ok(expected));
        }
    }

    #[test]
    fn other_arrays_are_refused() {
        for dict in [
            "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 4, 5, 6), }",
            "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4, 5, 6), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4, 5, 6), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5, -6), }",
            "{'descr': [('a', '<f4')], 'shape': (",
        ] {
            assert_eq!(Header::read(&mut bytes(1, dict).as_slice()), Err(format!("found {dict}")));
        }
        assert!(Header::read(&mut bytes(4, "").as_slice()).is_err());
        assert!(Header::read(&mut &b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..]).is_err());
        assert!(Header::read(&mut &b"not an array"[..]).is_err());
        let huge = Header { length: 128, element: Element::F32, shape: vec![usize::MAX, 9] };
        assert_eq!(huge.total(), None);
    }
}
