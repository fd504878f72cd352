//! Reading the array `probabilities` of an `.npz` file piece by piece.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use half::f16;
use zip::ZipArchive;
use zip::read::ZipFile;

/// Longest header that is read; NumPy's have about a hundred bytes.
const MAX_HEADER: usize = 1 << 16;
/// Deflate does not compress further than 1032 to 1.
const MAX_RATIO: u64 = 1100;

type Source<'a> = ZipFile<'a, BufReader<File>>;

/// An open `.npz` file.
pub(super) struct Npz(ZipArchive<BufReader<File>>);

impl Npz {
    /// Opens the file; the error names it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        ZipArchive::new(BufReader::with_capacity(1 << 18, file))
            .map(Self)
            .map_err(|error| format!("{name}: {error}; expected a .npz file of --save_probabilities"))
    }

    /// The array, read from its beginning.
    pub(super) fn probabilities<'a>(&'a mut self, path: &'a Path) -> Result<Probabilities<'a>, String> {
        let bad = |problem: String| {
            format!("{}: {problem}; expected f32 probabilities of --save_probabilities", path.display())
        };
        let mut source = self
            .0
            .by_name("probabilities.npy")
            .map_err(|error| bad(format!("array \"probabilities\": {error}")))?;
        let (size, compressed) = (source.size(), source.compressed_size());
        if size > compressed.saturating_mul(MAX_RATIO) {
            return Err(bad(format!("{compressed} bytes cannot hold {size}")));
        }
        let header = header(&mut source).map_err(|error| bad(format!("header of the array: {error}")))?;
        let Header { length, element, shape: [channels, z, y, x] } = header;
        let values = [channels, z, y, x].iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        let expected = values.and_then(|n| n.checked_mul(element.bytes() as u64)?.checked_add(length as u64));
        if expected != Some(size) || values == Some(0) {
            return Err(bad(format!("shape {:?} in {size} bytes", header.shape)));
        }
        Ok(Probabilities { path, source, element, channels, shape: [z, y, x], bytes: Vec::new() })
    }
}

/// Probabilities (channels, z, y, x) in C order, to be read from the first to the last.
pub(super) struct Probabilities<'a> {
    path: &'a Path,
    source: Source<'a>,
    element: Element,
    /// Number of classes or regions.
    pub(super) channels: usize,
    /// Shape (z, y, x).
    pub(super) shape: [usize; 3],
    bytes: Vec<u8>,
}

impl Probabilities<'_> {
    /// Reads the next values, as many as there is room for in `out`.
    pub(super) fn read(&mut self, out: &mut [f32]) -> Result<(), String> {
        self.bytes.resize(out.len() * self.element.bytes(), 0);
        self.source
            .read_exact(&mut self.bytes)
            .map_err(|error| format!("{}: {error}; the file is damaged", self.path.display()))?;
        match self.element {
            Element::F16 => fill(out, &self.bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::F32 => fill(out, &self.bytes, f32::from_le_bytes),
            Element::F64 => fill(out, &self.bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        }
        Ok(())
    }
}

fn fill<const N: usize>(out: &mut [f32], bytes: &[u8], value: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(values).for_each(|(out, bytes)| *out = value(*bytes));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    F16,
    F32,
    F64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// What the header of a `.npy` file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Bytes up to the first value.
    length: usize,
    element: Element,
    shape: [usize; 4],
}

/// Reads the header: magic, version, length, a Python dict.
fn header(source: &mut impl Read) -> Result<Header, String> {
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
    let element = match value("descr").and_then(|rest| rest.split('\'').nth(1)).ok_or_else(found)? {
        "<f2" => Element::F16,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        _ => return Err(found()),
    };
    if !value("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
        return Err(found());
    }
    let shape = value("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(found)?.0;
    let shape: Option<Vec<usize>> =
        shape.split(',').map(str::trim).filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect();
    let shape = shape.and_then(|shape| shape.try_into().ok()).ok_or_else(found)?;
    Ok(Header { length: start_length + text_length, element, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let expected = Header { length: bytes.len(), element: Element::F16, shape: [3, 4, 5, 6] };
            assert_eq!(header(&mut bytes.as_slice()), Ok(expected));
        }
    }

    #[test]
    fn other_arrays_are_refused() {
        for dict in [
            "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 4, 5, 6), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4, 5, 6), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5, -6), }",
            "{'descr': [('a', '<f4')], 'shape': (",
        ] {
            assert_eq!(header(&mut bytes(1, dict).as_slice()), Err(format!("found {dict}")));
        }
        assert!(header(&mut bytes(4, "").as_slice()).is_err());
        assert!(header(&mut &b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..]).is_err());
        assert!(header(&mut &b"not an array"[..]).is_err());
    }
}
