//! Preprocessed cases of older versions of nnU-Net: `.npz` archives, and the `.npy` arrays that training unpacks
//! from them.
//!
//! ```text
//! <case>.npz       data (c, z, y, x) and seg (1, z, y, x), compressed
//! <case>.npy       data, read in boxes
//! <case>_seg.npy   seg
//! ```

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::f16;
use zip::ZipArchive;

use super::error::PreprocessError;
use nnunet_base::files::write_atomic_with;
use nnunet_pyformats::npy::{Element, Header};

/// Deflate does not compress further than 1032 to 1.
const MAX_RATIO: u64 = 1100;

/// The axes of an array in a file.
#[derive(Debug, Clone, Copy)]
enum Axes {
    /// (c, z, y, x).
    WithChannels,
    /// (z, y, x), taken as one channel.
    Spatial,
}

/// An array of four axes in a `.npy` file, opened but not read.
#[derive(Debug)]
pub(super) struct NpyArray {
    path: PathBuf,
    file: Mutex<File>,
    header: Header,
    shape: [usize; 4],
}

impl NpyArray {
    /// Opens `unpacked`; unpacks it from `archive`, where it is called `name`, if it is not there or not whole.
    pub(super) fn open(unpacked: &Path, archive: &Path, name: &str) -> Result<Self, PreprocessError> {
        if let Ok(array) = Self::open_unpacked(unpacked, Axes::WithChannels) {
            return Ok(array);
        }
        unpack(archive, name, unpacked)?;
        Self::open_unpacked(unpacked, Axes::WithChannels)
    }

    /// The same for an array (z, y, x) of an archive that may be written again: it is unpacked again if it is older than
    /// the archive. Without the archive, `unpacked` alone is enough.
    pub(super) fn open_spatial(unpacked: &Path, archive: &Path, name: &str) -> Result<Self, PreprocessError> {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let outdated = modified(archive).is_some_and(|archive| modified(unpacked) < Some(archive));
        if !outdated && let Ok(array) = Self::open_unpacked(unpacked, Axes::Spatial) {
            return Ok(array);
        }
        unpack(archive, name, unpacked)?;
        Self::open_unpacked(unpacked, Axes::Spatial)
    }

    fn open_unpacked(path: &Path, axes: Axes) -> Result<Self, PreprocessError> {
        let mut file = File::open(path).map_err(|e| PreprocessError::io(path, "open it", e))?;
        let length = file.metadata().map_err(|e| PreprocessError::io(path, "read its size", e))?.len();
        let bad = |problem: String| PreprocessError::NotAnArray { path: path.to_owned(), problem };
        let header = Header::read(&mut BufReader::new(&mut file)).map_err(&bad)?;
        if header.total() != Some(length) {
            return Err(bad(format!("shape {:?} in {length} bytes", header.shape)));
        }
        let shape = match (axes, header.shape.as_slice()) {
            (Axes::WithChannels, &[c, z, y, x]) => [c, z, y, x],
            (Axes::Spatial, &[z, y, x]) => [1, z, y, x],
            (Axes::WithChannels, shape) => return Err(bad(format!("shape {shape:?}, expected four axes"))),
            (Axes::Spatial, shape) => return Err(bad(format!("shape {shape:?}, expected three axes"))),
        };
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), header, shape })
    }

    /// Its shape.
    pub(super) fn shape(&self) -> [usize; 4] {
        self.shape
    }

    fn check_box(&self, start: [usize; 4], size: [usize; 4]) -> Result<(), PreprocessError> {
        if (0..4).all(|i| start[i].checked_add(size[i]).is_some_and(|end| end <= self.shape[i])) {
            return Ok(());
        }
        let expected = format!("a box of {size:?} from {start:?} inside of it");
        Err(PreprocessError::StoredShape { path: self.path.clone(), found: self.shape.to_vec(), expected })
    }

    /// Reads the box of `size` from `start`, in C order.
    pub(super) fn read<T: FromElement>(
        &self,
        start: [usize; 4],
        size: [usize; 4],
    ) -> Result<Vec<T>, PreprocessError> {
        self.check_box(start, size)?;
        let mut out = vec![T::default(); size.iter().product()];
        self.read_into(start, size, &mut out)?;
        Ok(out)
    }

    /// As [`Self::read`], into `out`, which has as many elements as the box.
    pub(super) fn read_into<T: FromElement>(
        &self,
        start: [usize; 4],
        size: [usize; 4],
        out: &mut [T],
    ) -> Result<(), PreprocessError> {
        self.check_box(start, size)?;
        debug_assert_eq!(out.len(), size.iter().product::<usize>());
        if out.is_empty() {
            return Ok(());
        }
        let [_, depth, height, width] = self.shape;
        let bytes = self.header.element.bytes();
        // The rows of a slice of the box, with what lies between them.
        let mut rows = vec![0; size[2] * width * bytes];
        let failed = |e| PreprocessError::io(&self.path, "read it", e);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, slice) in out.chunks_exact_mut(size[2] * size[3]).enumerate() {
            let (c, z) = (start[0] + i / size[1], start[1] + i % size[1]);
            let first = ((c * depth + z) * height + start[2]) * width;
            file.seek(SeekFrom::Start((self.header.length + first * bytes) as u64)).map_err(failed)?;
            file.read_exact(&mut rows).map_err(failed)?;
            for (line, row) in slice.chunks_exact_mut(size[3]).zip(rows.chunks_exact(width * bytes)) {
                T::convert(self.header.element, &row[start[3] * bytes..][..size[3] * bytes], line);
            }
        }
        Ok(())
    }
}

/// Writes the array `name` of an archive to a file of its own, whole or not at all.
fn unpack(archive: &Path, name: &str, target: &Path) -> Result<(), PreprocessError> {
    let bad = |problem: String| PreprocessError::NotAnArray { path: archive.to_owned(), problem };
    let file = File::open(archive).map_err(|e| PreprocessError::io(archive, "open it", e))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| bad(e.to_string()))?;
    let entry = zip.by_name(&format!("{name}.npy")).map_err(|e| bad(format!("array {name:?}: {e}")))?;
    let (size, compressed) = (entry.size(), entry.compressed_size());
    if size > compressed.saturating_mul(MAX_RATIO) {
        return Err(bad(format!("{compressed} bytes cannot hold {size}")));
    }
    // To the end, where the checksum is compared, but not further than announced.
    let mut entry = entry.take(size.saturating_add(1));
    write_atomic_with(target, |file| std::io::copy(&mut entry, file).map(|_| ()))
        .map_err(|e| PreprocessError::io(target, "unpack it", e))
}

/// A type that elements of arrays are read as.
pub(super) trait FromElement: Copy + Default {
    /// Converts elements; `out` has as many.
    fn convert(element: Element, bytes: &[u8], out: &mut [Self]);
}

macro_rules! from_element {
    ($($t:ty),*) => {$(
        impl FromElement for $t {
            fn convert(element: Element, bytes: &[u8], out: &mut [Self]) {
                match element {
                    Element::F16 => fill(bytes, out, |b| f16::from_le_bytes(b).to_f32() as $t),
                    Element::F32 => fill(bytes, out, |b| f32::from_le_bytes(b) as $t),
                    Element::F64 => fill(bytes, out, |b| f64::from_le_bytes(b) as $t),
                    Element::I8 => fill(bytes, out, |b| i8::from_le_bytes(b) as $t),
                    Element::I16 => fill(bytes, out, |b| i16::from_le_bytes(b) as $t),
                    Element::I32 => fill(bytes, out, |b| i32::from_le_bytes(b) as $t),
                    Element::I64 => fill(bytes, out, |b| i64::from_le_bytes(b) as $t),
                    Element::U8 => fill(bytes, out, |b: [u8; 1]| b[0] as $t),
                    Element::U16 => fill(bytes, out, |b| u16::from_le_bytes(b) as $t),
                }
            }
        }
    )*};
}
from_element!(f32, i16);

fn fill<T, const N: usize>(bytes: &[u8], out: &mut [T], value: impl Fn([u8; N]) -> T) {
    let (values, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(values).for_each(|(out, bytes)| *out = value(*bytes));
}
