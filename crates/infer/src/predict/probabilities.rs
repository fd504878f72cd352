//! `.npz` files of probabilities, as NumPy's `savez_compressed` writes them.

use std::io;
use std::path::Path;

use nnunet_volume::ChannelVolume;

use nnunet_pyformats::npy::{Element, write_npz};

/// Writes `probabilities` (heads, z, y, x) as the f32 array `probabilities` of an `.npz` file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_probabilities(path: &Path, probabilities: &ChannelVolume<f32>) -> io::Result<()> {
    let [z, y, x] = probabilities.shape();
    write_npz(path, "probabilities", Element::F32, &[probabilities.channels(), z, y, x], |archive| {
        let mut bytes = Vec::with_capacity(1 << 18);
        for values in probabilities.data().chunks(1 << 16) {
            bytes.clear();
            values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
            archive.write_all(&bytes)?;
        }
        Ok(())
    })
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
    }
}
