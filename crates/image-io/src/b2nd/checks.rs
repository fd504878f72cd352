//! What a file may ask for, and the errors for one that asks for more or is damaged.

use std::path::Path;

use super::frame::{Header, Problem};
use super::layout::Layout;
use super::region::volume;
use nnunet_volume::error::VolumeError;

/// Largest block that is decompressed.
pub(super) const MAX_BLOCK: u64 = 1 << 30;

/// Largest region, in bytes.
pub(super) const MAX_ARRAY: usize = 1 << 38;

/// Advice for a file that cannot have been written so.
pub(super) const DAMAGED: &str = "The file is damaged: preprocess the case again";

/// Whether the sizes of the header agree with each other and are within bounds.
pub(super) fn check_sizes(header: &Header) -> std::result::Result<(), Problem> {
    let Layout { chunk, block } = &header.layout;
    if chunk.iter().chain(block).any(|&n| n == 0) || header.shape.iter().any(|&n| n > MAX_ARRAY) {
        return Err(Problem::Field {
            field: "b2nd shapes",
            found: format!("shape {:?}, chunk {chunk:?}, block {block:?}", header.shape),
            expected: "lengths of at least 1 and at most 2^38".to_owned(),
        });
    }
    let size = header.element.size();
    let block_bytes = volume(block).and_then(|v| v.checked_mul(size)).map(|v| v as u64);
    // A chunk holds whole blocks.
    let padded: Option<Vec<usize>> =
        chunk.iter().zip(block).map(|(c, b)| c.div_ceil(*b).checked_mul(*b)).collect();
    let chunk_bytes = padded.and_then(|p| volume(&p)).and_then(|v| v.checked_mul(size)).map(|v| v as u64);
    let found = (header.chunk_bytes, header.block_bytes);
    let fits = Some(found.0) == chunk_bytes && Some(found.1) == block_bytes;
    if !fits || found.1 > MAX_BLOCK || found.0 > i32::MAX as u64 {
        return Err(Problem::Field {
            field: "chunk and block bytes",
            found: format!("{found:?} with chunk {chunk:?} and block {block:?} of {size}-byte elements"),
            expected: "the sizes of those shapes, at most 2 GiB".to_owned(),
        });
    }
    Ok(())
}

/// The error for a file with `problem`.
pub(super) fn refusal(path: &Path, problem: Problem) -> VolumeError {
    let path = path.to_owned();
    match problem {
        Problem::NotAFrame(found) => VolumeError::NotThisFormat { path, format: "Blosc2 (.b2nd)", found },
        Problem::Field { field, found, expected } => {
            VolumeError::BadHeader { path, field: field.to_owned(), found, expected, advice: DAMAGED }
        }
        Problem::Unsupported(found) => VolumeError::Unsupported {
            path,
            found,
            expected: "an array as nnU-Net writes it",
            advice: "Preprocess the case again",
        },
    }
}

/// The error for a file that has `len` bytes instead of `expected`.
pub(super) fn truncated(path: &Path, expected: u64, len: u64) -> VolumeError {
    VolumeError::Truncated {
        path: path.to_owned(),
        expected,
        found: format!("the file has {len} bytes in all"),
    }
}
