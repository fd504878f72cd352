//! Numbers of any type to f32, from a stream.

use std::io::{self, Read};

use nnunet_pyformats::pickle::Dtype;

/// Reads `count` numbers of type `dtype` and converts them to f32 (wider types are rounded).
///
/// Memory grows with what is there, not with what is promised.
pub(crate) fn read_f32s(
    source: &mut dyn Read,
    dtype: Dtype,
    count: usize,
    big_endian: bool,
) -> io::Result<Vec<f32>> {
    const STEP: usize = 1 << 16;
    let size = dtype.size();
    let mut out = Vec::new();
    let mut buffer = vec![0u8; STEP * size];
    let mut left = count;
    while left > 0 {
        let now = left.min(STEP);
        let bytes = &mut buffer[..now * size];
        source.read_exact(bytes)?;
        if big_endian && size > 1 {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if out.capacity() < out.len() + now {
            // Whole size at once as soon as a part of it was there.
            out.try_reserve_exact(left).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        if dtype == Dtype::F32 {
            out.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        } else {
            out.extend(bytes.chunks_exact(size).map(|b| dtype.to_f64(b) as f32));
        }
        left -= now;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_f32() {
        let read = |dtype, bytes: &[u8]| read_f32s(&mut &bytes[..], dtype, 2, false).unwrap();
        assert_eq!(read(Dtype::F32, &[1.5f32, -2.0].map(f32::to_le_bytes).concat()), [1.5, -2.0]);
        assert_eq!(read(Dtype::F64, &[1.5f64, -2.0].map(f64::to_le_bytes).concat()), [1.5, -2.0]);
        assert_eq!(read(Dtype::F16, &[0, 0x3e, 0, 0xc0]), [1.5, -2.0]);
        assert_eq!(read(Dtype::Bf16, &[0xc0, 0x3f, 0, 0xc0]), [1.5, -2.0]);
        assert_eq!(read(Dtype::I64, &[3i64, -2].map(i64::to_le_bytes).concat()), [3.0, -2.0]);
        assert_eq!(read(Dtype::Bool, &[1, 0]), [1.0, 0.0]);
        let big = [1.5f32, -2.0].map(f32::to_be_bytes).concat();
        assert_eq!(read_f32s(&mut &big[..], Dtype::F32, 2, true).unwrap(), [1.5, -2.0]);
        assert!(read_f32s(&mut &big[..7], Dtype::F32, 2, true).is_err());
    }
}
