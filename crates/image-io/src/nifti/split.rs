//! Taking the volumes of a four-dimensional file apart: each becomes a file of three dimensions.
//!
//! Voxels keep their stored type, byte order and scaling, and are copied as a stream: no volume is ever held. The
//! place is that of the whole, whose fourth axis says nothing about it. Header extensions are left out.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::header::Header;
use super::reader::Source;
use super::writer::write_stream;
use crate::voxels::{CHUNK, read_up_to, voxel_count};
use nnunet_volume::error::{Result, VolumeError};

/// Number of volumes in `path`, from its header: 1 for a file of three dimensions.
///
/// # Errors
/// No NIfTI file, impossible header fields, fewer than three or more than four dimensions.
pub fn number_of_volumes(path: impl AsRef<Path>) -> Result<usize> {
    let path = path.as_ref();
    let header = Source::open(path)?.header()?;
    Ok(shape(path, &header)?.1)
}

/// Writes volume `i` of `path` to the file `name(i)`, compressed if that ends in `.gz`; returns how many there are.
///
/// # Errors
/// As [`number_of_volumes`]; fewer voxels than the header says; whatever the operating system refuses. Files that
/// were written before an error stay.
pub fn split_volumes(path: impl AsRef<Path>, name: impl Fn(usize) -> PathBuf) -> Result<usize> {
    let path = path.as_ref();
    let mut source = Source::open(path)?;
    let header = source.header()?;
    let ([x, y, z], volumes) = shape(path, &header)?;
    let bytes = voxel_count(path, [z, y, x])?.saturating_mul(header.voxel_type(path)?.bytes() as u64);
    let start = header.of_one_volume(&source.head);
    let expected = bytes.saturating_mul(volumes as u64);
    let head = source.skip_to_voxels(&header, expected)?;
    let mut voxels = head.as_slice().chain(&mut source.reader);
    for i in 0..volumes {
        // The error of a damaged source is not one of the file that is being written.
        let mut damage = None;
        let written = write_stream(&name(i), |out| {
            out.write_all(&start)?;
            copy(&mut voxels, out, bytes).map_err(|failed| match failed {
                Failed::Write(error) => error,
                Failed::Read(error) => {
                    damage = Some(VolumeError::DamagedCompression { path: path.to_owned(), source: error });
                    std::io::ErrorKind::InvalidData.into()
                }
                Failed::Short => {
                    let found = format!("volume {i} of {volumes} is not complete");
                    damage = Some(VolumeError::Truncated { path: path.to_owned(), expected, found });
                    std::io::ErrorKind::UnexpectedEof.into()
                }
            })
        });
        match damage {
            Some(damage) => return Err(damage),
            None => written?,
        }
    }
    Ok(volumes)
}

/// Which end of a copy failed.
enum Failed {
    Read(std::io::Error),
    Short,
    Write(std::io::Error),
}

/// Copies `bytes` bytes.
fn copy(from: &mut impl Read, to: &mut dyn Write, bytes: u64) -> std::result::Result<(), Failed> {
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = &mut buffer[..left.min(CHUNK as u64) as usize];
        let got = read_up_to(from, part).map_err(Failed::Read)?;
        if got < part.len() {
            return Err(Failed::Short);
        }
        to.write_all(part).map_err(Failed::Write)?;
        left -= got as u64;
    }
    Ok(())
}

/// Shape (x, y, z) of a volume, and the number of volumes.
fn shape(path: &Path, header: &Header) -> Result<([usize; 3], usize)> {
    // A length of zero is one volume, whose reading will say so.
    let shape = header.shape(path, &mut Vec::new())?;
    match *shape {
        [x, y, z] => Ok(([x, y, z], 1)),
        [x, y, z, volumes] => Ok(([x, y, z], volumes)),
        _ => Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("an image of shape {shape:?} (x, y, z, ...)"),
            expected: "one of three dimensions, or of four, the last of which are its channels",
            advice: "Convert it.",
        }),
    }
}

#[cfg(test)]
mod tests {
    use nnunet_volume::SpacingMm;

    use super::*;
    use crate::nifti;
    use nnunet_testkit::phantom::{NiftiFile, Voxels};

    fn four_dimensional(volumes: usize) -> NiftiFile {
        let voxels = (0..24 * volumes as i16).collect();
        let mut file = NiftiFile::new([2, 3, 4], [2.5, 1.0, 0.5], Voxels::I16(voxels));
        file.dims.push(volumes);
        file.spacing.push(1.5);
        file
    }

    #[test]
    fn volumes_keep_voxels_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.nii", "a.nii.gz"] {
            four_dimensional(3).write(at(name));
            assert_eq!(number_of_volumes(at(name)).unwrap(), 3);
            assert_eq!(split_volumes(at(name), |i| at(&format!("{i}_{name}"))).unwrap(), 3);
            for i in 0..3 {
                let part = nifti::read(at(&format!("{i}_{name}"))).unwrap();
                let first = 24.0 * i as f32;
                assert_eq!(part.volume.shape(), [2, 3, 4]);
                assert!(part.volume.data().iter().zip(0..).all(|(v, n)| *v == first + n as f32));
                assert_eq!(part.geometry.spacing_zyx(), SpacingMm::new([2.5, 1.0, 0.5]));
            }
        }
        let flat = NiftiFile { dims: vec![6, 4], ..four_dimensional(1) };
        flat.write(at("flat.nii"));
        assert!(number_of_volumes(at("flat.nii")).unwrap_err().to_string().contains("[6, 4]"));
    }

    #[test]
    fn a_damaged_file_is_named_itself() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, cut) in [("a.nii", 60), ("a.nii.gz", 20)] {
            four_dimensional(3).write(at(name));
            let bytes = std::fs::read(at(name)).unwrap();
            std::fs::write(at(name), &bytes[..bytes.len() - cut]).unwrap();
            let error = split_volumes(at(name), |i| at(&format!("{i}_{name}"))).unwrap_err().to_string();
            assert!(error.starts_with(&at(name).display().to_string()), "{error}");
        }
    }
}
