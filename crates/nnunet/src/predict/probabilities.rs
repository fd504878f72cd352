//! `.npz` files of probabilities, as NumPy's `savez_compressed` writes them.

use std::io::{self, Write};
use std::path::Path;

use nnunet_volume::ChannelVolume;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::files::write_atomic_with;

/// Writes `probabilities` (heads, z, y, x) as the f32 array `probabilities` of an `.npz` file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_probabilities(path: &Path, probabilities: &ChannelVolume<f32>) -> io::Result<()> {
    write_atomic_with(path, |file| {
        let mut archive = ZipWriter::new(file);
        archive.start_file("probabilities.npy", SimpleFileOptions::default().large_file(true))?;
        archive.write_all(&npy_header(probabilities))?;
        let mut bytes = Vec::with_capacity(1 << 18);
        for values in probabilities.data().chunks(1 << 16) {
            bytes.clear();
            values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
            archive.write_all(&bytes)?;
        }
        archive.finish()?.flush()
    })
}

/// Version 1.0 of the `.npy` format: magic, length, a Python dict padded to 64 bytes.
fn npy_header(array: &ChannelVolume<f32>) -> Vec<u8> {
    let [z, y, x] = array.shape();
    let mut dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {z}, {y}, {x}), }}",
        array.channels()
    );
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    header.extend_from_slice(dict.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use nnunet_testkit::npy::read_npz;

    use super::*;

    #[test]
    fn numpy_files_come_back() {
        let data: Vec<f32> = (0..2 * 3 * 4 * 5).map(|i| i as f32 * 0.1).collect();
        let array = ChannelVolume::new(2, [3, 4, 5], data.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.npz");
        write_probabilities(&path, &array).unwrap();
        let read = &read_npz(&path)["probabilities"];
        assert_eq!((read.shape.as_slice(), read.dtype.as_str()), ([2, 3, 4, 5].as_slice(), "f4"));
        assert_eq!(read.f32(), data);
        assert_eq!(npy_header(&array).len() % 64, 0);
    }
}
