//! Reading the array `probabilities` of an `.npz` file, as `--save_probabilities` writes it, piece by piece.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use half::f16;
use zip::ZipArchive;
use zip::read::ZipFile;

use crate::npy::{Element, Header};

/// Deflate does not compress further than 1032 to 1.
const MAX_RATIO: u64 = 1100;

type Source<'a> = ZipFile<'a, BufReader<File>>;

/// An open `.npz` file.
#[derive(Debug)]
pub struct Npz(ZipArchive<BufReader<File>>);

impl Npz {
    /// Opens the file.
    ///
    /// # Errors
    /// A file that cannot be read or is no archive; the text names it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        ZipArchive::new(BufReader::with_capacity(1 << 18, file))
            .map(Self)
            .map_err(|error| format!("{name}: {error}; expected a .npz file of probabilities"))
    }

    /// The array, read from its beginning; `path` is named in errors.
    ///
    /// # Errors
    /// No such array, or one that is no array of probabilities; the text names the file.
    pub fn probabilities<'a>(&'a mut self, path: &'a Path) -> Result<Probabilities<'a>, String> {
        let bad = |problem: String| {
            format!("{}: {problem}; expected probabilities as saved by a prediction (f32)", path.display())
        };
        let mut source = self
            .0
            .by_name("probabilities.npy")
            .map_err(|error| bad(format!("array \"probabilities\": {error}")))?;
        let (size, compressed) = (source.size(), source.compressed_size());
        if size > compressed.saturating_mul(MAX_RATIO) {
            return Err(bad(format!("{compressed} bytes cannot hold {size}")));
        }
        let header =
            Header::read(&mut source).map_err(|error| bad(format!("header of the array: {error}")))?;
        let (element, shape) = (header.element, header.shape.as_slice());
        let &[channels, z, y, x] = shape else { return Err(bad(format!("shape {shape:?}"))) };
        if header.total() != Some(size) || shape.contains(&0) {
            return Err(bad(format!("shape {shape:?} in {size} bytes")));
        }
        if !matches!(element, Element::F16 | Element::F32 | Element::F64) {
            return Err(bad(format!("an array of {element:?}")));
        }
        Ok(Probabilities { path, source, element, channels, shape: [z, y, x], bytes: Vec::new() })
    }
}

/// Probabilities (channels, z, y, x) in C order, to be read from the first to the last.
pub struct Probabilities<'a> {
    path: &'a Path,
    source: Source<'a>,
    element: Element,
    /// Number of classes or regions.
    pub channels: usize,
    /// Shape (z, y, x).
    pub shape: [usize; 3],
    bytes: Vec<u8>,
}

impl Probabilities<'_> {
    /// Reads the next values, as many as there is room for in `out`.
    ///
    /// # Errors
    /// A damaged file or values that are not finite; the text names the file.
    pub fn read(&mut self, out: &mut [f32]) -> Result<(), String> {
        self.bytes.resize(out.len() * self.element.bytes(), 0);
        self.source
            .read_exact(&mut self.bytes)
            .map_err(|error| format!("{}: {error}; the file is damaged", self.path.display()))?;
        match self.element {
            Element::F16 => fill(out, &self.bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::F64 => fill(out, &self.bytes, |bytes| f64::from_le_bytes(bytes) as f32),
            // Other types are refused when the array is opened.
            _ => fill(out, &self.bytes, f32::from_le_bytes),
        }
        match out.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!(
                "{}: a probability is {value}, expected a number from 0 to 1; predict the case again",
                self.path.display()
            )),
            None => Ok(()),
        }
    }
}

fn fill<const N: usize>(out: &mut [f32], bytes: &[u8], value: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(values).for_each(|(out, bytes)| *out = value(*bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npy::write_npz;

    #[test]
    fn probabilities_that_are_not_finite_are_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.npz");
        for (value, fault) in [(0.5, None), (f32::NAN, Some("is NaN")), (f32::INFINITY, Some("is inf"))] {
            let mut values = [0.5f32; 12];
            values[7] = value;
            write_npz(&path, "probabilities", Element::F32, &[2, 1, 2, 3], |archive| {
                values.iter().try_for_each(|value| archive.write_all(&value.to_le_bytes()))
            })
            .unwrap();
            let mut archive = Npz::open(&path).unwrap();
            let read = archive.probabilities(&path).unwrap().read(&mut [0.0; 12]);
            let message = read.err();
            assert_eq!(message.is_some(), fault.is_some(), "{value}: {message:?}");
            if let (Some(message), Some(fault)) = (message, fault) {
                assert!(message.contains("case.npz") && message.contains(fault), "{message}");
            }
        }
    }
}
