//! Voxels between the bytes of a file and memory, shared by the formats.

use std::io::{Read, Write};
use std::path::Path;

use crate::VoxelType;
use crate::error::{Result, VolumeError};

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

/// Reads `count` voxels as f32 and says how many of them were not finite.
///
/// `head` comes before the rest of the stream `reader`. Memory is touched only as voxels arrive.
pub(super) fn read_voxels(
    path: &Path,
    mut head: &[u8],
    reader: &mut impl Read,
    encoding: &Encoding,
    count: u64,
) -> Result<(Vec<f32>, u64)> {
    let damaged = |expected: u64, done: u64, error: &std::io::Error| {
        let found = format!("after {done} of them reading fails: {error}");
        VolumeError::Truncated { path: path.to_owned(), expected, found }
    };
    let bytes = count * encoding.voxel_type.bytes() as u64;
    let mut out: Vec<f32> = Vec::new();
    out.try_reserve_exact(count as usize)
        .map_err(|_| VolumeError::OutOfMemory { path: path.to_owned(), voxels: count })?;
    let mut buffer = vec![0u8; CHUNK.min(bytes as usize)];
    let mut non_finite = 0;
    let mut done = 0u64;
    while done < bytes {
        let want = ((bytes - done) as usize).min(CHUNK);
        let chunk = &mut buffer[..want];
        let (from_head, rest) = head.split_at(want.min(head.len()));
        chunk[..from_head.len()].copy_from_slice(from_head);
        head = rest;
        let had = from_head.len();
        let got = read_up_to(reader, &mut chunk[had..]).map_err(|e| damaged(bytes, done + had as u64, &e))?;
        if had + got < want {
            let found = format!("there are {}", done + (had + got) as u64);
            return Err(VolumeError::Truncated { path: path.to_owned(), expected: bytes, found });
        }
        non_finite += append(&mut out, chunk, encoding);
        done += want as u64;
    }
    // The checksum of a compressed stream is behind its last byte.
    read_up_to(reader, &mut [0u8; 1]).map_err(|e| damaged(bytes, done, &e))?;
    Ok((out, non_finite))
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

/// Decodes `bytes` (whole voxels) onto `out`; returns how many were not finite.
fn append(out: &mut Vec<f32>, bytes: &[u8], encoding: &Encoding) -> u64 {
    let Encoding { voxel_type, big_endian, scaling, zero_non_finite } = *encoding;
    macro_rules! integers {
        ($t:ty) => {
            numbers!($t, |v: $t| v as f32, |v: $t| f64::from(v as f32))
        };
    }
    macro_rules! numbers {
        ($t:ty, $plain:expr, $wide:expr) => {{
            let chunks = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            let (plain, wide) = ($plain, $wide);
            match (scaling, big_endian) {
                (None, false) => out.extend(chunks.map(|c| plain(<$t>::from_le_bytes(*c)))),
                (None, true) => out.extend(chunks.map(|c| plain(<$t>::from_be_bytes(*c)))),
                (Some((slope, intercept)), _) => out.extend(chunks.map(|c| {
                    let v = if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) };
                    (wide(v) * slope + intercept) as f32
                })),
            }
            0
        }};
    }
    macro_rules! floats {
        ($t:ty) => {{
            let mut bad = 0u64;
            let mut fixed = |v: $t| {
                let finite = v.is_finite();
                bad += u64::from(!finite);
                if finite || !zero_non_finite { v } else { 0.0 }
            };
            let chunks = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            match scaling {
                None => out.extend(chunks.map(|c| {
                    fixed(if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) }) as f32
                })),
                Some((slope, intercept)) => out.extend(chunks.map(|c| {
                    let v = fixed(if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) })
                        as f64;
                    (v * slope + intercept) as f32
                })),
            }
            bad
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
