//! Voxels between the bytes of a file and memory, shared by the formats.

use std::io::{Read, Write};
use std::path::Path;

use super::stream::ByteStream;
use crate::{ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};

/// Bytes read at a time: fits the second-level cache together with the voxels made of it.
pub(super) const CHUNK: usize = 1 << 17;
/// Deflate's largest expansion.
const MAX_EXPANSION: u64 = 1032;

/// A voxel type that can be stored.
pub trait StoredVoxel: Copy + Send + Sync + private::Sealed {
    /// The type in words of the formats.
    const TYPE: VoxelType;
    /// Appends the voxel in low-byte-first order.
    fn encode(self, out: &mut Vec<u8>);
}

mod private {
    /// Keeps the trait to the types that the formats have.
    pub trait Sealed {}
}

macro_rules! stored {
    ($($t:ty = $kind:ident),*) => {$(
        impl private::Sealed for $t {}
        impl StoredVoxel for $t {
            const TYPE: VoxelType = VoxelType::$kind;
            fn encode(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
stored!(
    u8 = U8,
    i8 = I8,
    u16 = U16,
    i16 = I16,
    u32 = U32,
    i32 = I32,
    u64 = U64,
    i64 = I64,
    f32 = F32,
    f64 = F64
);

/// Writes `data` in low-byte-first order.
pub(super) fn write_voxels<T: StoredVoxel>(out: &mut impl Write, data: &[T]) -> std::io::Result<()> {
    const VOXELS: usize = 1 << 15;
    let mut buffer = Vec::with_capacity(VOXELS * size_of::<T>());
    for chunk in data.chunks(VOXELS) {
        buffer.clear();
        chunk.iter().for_each(|v| v.encode(&mut buffer));
        out.write_all(&buffer)?;
    }
    Ok(())
}

/// How voxels lie in a stream.
pub(super) struct Encoding {
    pub(super) voxel_type: VoxelType,
    pub(super) big_endian: bool,
    /// Slope and intercept to apply.
    pub(super) scaling: Option<(f64, f64)>,
    /// Whether NaN and infinities become zero.
    pub(super) zero_non_finite: bool,
}

/// Number of voxels of `shape` (any axis order) if it is one that memory could ever hold.
pub(super) fn voxel_count(path: &Path, shape: [usize; 3]) -> Result<u64> {
    let product = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    product.filter(|n| *n <= (isize::MAX as u64) / 8).ok_or_else(|| VolumeError::BadHeader {
        path: path.to_owned(),
        field: "the shape".into(),
        found: format!("{shape:?}"),
        expected: "one that a file can hold".into(),
        advice: "The file is damaged: export it again.",
    })
}

/// Compares the voxels that a header promises with the `stored` bytes that there are for them.
pub(super) fn check_room(path: &Path, expected: u64, stored: u64, compressed: bool) -> Result<()> {
    let room = if compressed { stored.saturating_mul(MAX_EXPANSION) } else { stored };
    if expected <= room {
        return Ok(());
    }
    let found = if compressed {
        format!("{stored} compressed bytes cannot hold more than {room}")
    } else {
        format!("there are {room}")
    };
    Err(VolumeError::Truncated { path: path.to_owned(), expected, found })
}

/// Reads `count` voxels as f32, and what is unusual about them.
///
/// `head` comes before the rest of `stream`. Memory is touched only as voxels arrive.
pub(super) fn read_voxels(
    path: &Path,
    mut head: &[u8],
    stream: &mut ByteStream,
    encoding: &Encoding,
    count: u64,
) -> Result<(Vec<f32>, Vec<ImageWarning>)> {
    let damaged = |expected: u64, done: u64, error: &std::io::Error| {
        let found = format!("after {done} of them reading fails: {error}");
        VolumeError::Truncated { path: path.to_owned(), expected, found }
    };
    let bytes = count * encoding.voxel_type.bytes() as u64;
    let mut out: Vec<f32> = Vec::new();
    out.try_reserve_exact(count as usize)
        .map_err(|_| VolumeError::OutOfMemory { path: path.to_owned(), voxels: count })?;
    let mut buffer = vec![0u8; CHUNK.min(bytes as usize)];
    let mut non_finite = NonFinite::default();
    let mut done = 0u64;
    while done < bytes {
        let want = ((bytes - done) as usize).min(CHUNK);
        let chunk = &mut buffer[..want];
        let (from_head, rest) = head.split_at(want.min(head.len()));
        chunk[..from_head.len()].copy_from_slice(from_head);
        head = rest;
        let had = from_head.len();
        let got = read_up_to(stream, &mut chunk[had..]).map_err(|e| damaged(bytes, done + had as u64, &e))?;
        if had + got < want {
            let found = format!("there are {}", done + (had + got) as u64);
            return Err(VolumeError::Truncated { path: path.to_owned(), expected: bytes, found });
        }
        append(&mut out, chunk, encoding, &mut non_finite);
        done += want as u64;
    }
    let more = !head.is_empty() || stream.has_more().map_err(|e| damaged(bytes, done, &e))?;
    let mut warnings = non_finite.warnings();
    warnings.extend(more.then_some(ImageWarning::BytesBehindVoxels));
    Ok((out, warnings))
}

/// Voxels that are no ordinary numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NonFinite {
    /// NaN and infinities that were read as zero.
    zeroed: u64,
    /// NaN and infinities that stay, and numbers that are infinite as f32.
    kept: u64,
}

impl NonFinite {
    /// Counts those among values that stay as they are.
    pub(super) fn among(values: &[f32]) -> Self {
        Self { zeroed: 0, kept: values.iter().filter(|v| !v.is_finite()).count() as u64 }
    }

    pub(super) fn warnings(self) -> Vec<ImageWarning> {
        let warning = |count, zeroed| (count > 0).then_some(ImageWarning::NonFiniteVoxels { count, zeroed });
        [warning(self.zeroed, true), warning(self.kept, false)].into_iter().flatten().collect()
    }
}

/// Fills `buffer` unless the stream ends before; returns how much was read.
pub(super) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Decodes `bytes` (whole voxels) onto `out`.
pub(super) fn append_voxels(out: &mut Vec<f32>, bytes: &[u8], encoding: &Encoding) {
    append(out, bytes, encoding, &mut NonFinite::default());
}

/// Decodes `bytes` (whole voxels) onto `out` and counts those that are not finite.
fn append(out: &mut Vec<f32>, bytes: &[u8], encoding: &Encoding, non_finite: &mut NonFinite) {
    let Encoding { voxel_type, big_endian, scaling, zero_non_finite } = *encoding;
    let mut count = |v: f32| {
        non_finite.kept += u64::from(!v.is_finite());
        v
    };
    macro_rules! integers {
        ($t:ty) => {{
            let chunks = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            match (scaling, big_endian) {
                (None, false) => out.extend(chunks.map(|c| <$t>::from_le_bytes(*c) as f32)),
                (None, true) => out.extend(chunks.map(|c| <$t>::from_be_bytes(*c) as f32)),
                (Some((slope, intercept)), _) => out.extend(chunks.map(|c| {
                    let v = if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) };
                    count((f64::from(v as f32) * slope + intercept) as f32)
                })),
            }
        }};
    }
    macro_rules! floats {
        ($t:ty) => {{
            let mut zeroed = 0;
            let numbers = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter().map(|c| {
                let v = if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) };
                let zero = zero_non_finite && !v.is_finite();
                zeroed += u64::from(zero);
                if zero { 0.0 } else { v }
            });
            match scaling {
                None => out.extend(numbers.map(|v| count(v as f32))),
                Some((slope, intercept)) => {
                    out.extend(numbers.map(|v| count((v as f64 * slope + intercept) as f32)));
                }
            }
            non_finite.zeroed += zeroed;
        }};
    }
    match voxel_type {
        VoxelType::I8 => integers!(i8),
        VoxelType::U8 => integers!(u8),
        VoxelType::I16 => integers!(i16),
        VoxelType::U16 => integers!(u16),
        VoxelType::I32 => integers!(i32),
        VoxelType::U32 => integers!(u32),
        VoxelType::I64 => integers!(i64),
        VoxelType::U64 => integers!(u64),
        VoxelType::F32 => floats!(f32),
        VoxelType::F64 => floats!(f64),
    }
}
