//! Decompression of one stream of a block. Each decoder fills the output exactly or fails.

use std::io::Read;

/// Compressors of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    BloscLz,
    Lz4,
    Zlib,
    Zstd,
}

impl Codec {
    /// From the upper three bits of a chunk's flags.
    pub(super) fn from_flags(flags: u8) -> Option<Self> {
        match flags >> 5 {
            0 => Some(Self::BloscLz),
            1 => Some(Self::Lz4),
            3 => Some(Self::Zlib),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Fills `out` from `source`; says in words what is wrong otherwise.
    pub(super) fn decode(self, source: &[u8], out: &mut [u8]) -> Result<(), String> {
        let written = match self {
            Self::BloscLz => blosclz(source, out).ok_or("invalid BloscLZ data")?,
            Self::Lz4 => lz4_flex::block::decompress_into(source, out)
                .map_err(|e| format!("invalid LZ4 data ({e})"))?,
            Self::Zlib => {
                let mut decoder = flate2::read::ZlibDecoder::new(source);
                decoder.read_exact(out).map_err(|e| format!("invalid zlib data ({e})"))?;
                out.len()
            }
            Self::Zstd => {
                let mut decoder = ruzstd::decoding::FrameDecoder::new();
                decoder.decode_all(source, out).map_err(|e| format!("invalid Zstandard data ({e})"))?
            }
        };
        if written != out.len() {
            return Err(format!("{written} bytes instead of {} come out", out.len()));
        }
        Ok(())
    }
}

/// Distance from which on a match has a two-byte distance of its own.
const FAR: usize = 8191;

/// BloscLZ: literal runs (control byte < 32) and matches (length in the upper three bits, distance behind).
fn blosclz(mut source: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    // The upper bits of the first byte name the version; it always begins a literal run.
    let mut control = next(&mut source)? & 31;
    loop {
        if control < 32 {
            let (run, rest) = source.split_at_checked(control + 1)?;
            out.get_mut(at..at + run.len())?.copy_from_slice(run);
            at += run.len();
            source = rest;
        } else {
            let mut length = (control >> 5) - 1;
            if length == 6 {
                loop {
                    let more = next(&mut source)?;
                    length += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            length += 3;
            let high = (control & 31) << 8;
            let low = next(&mut source)?;
            let mut distance = high + low;
            if low == 255 && high == 31 << 8 {
                distance = (next(&mut source)? << 8) + next(&mut source)? + FAR;
            }
            // Distances count from the byte before.
            let start = at.checked_sub(distance + 1)?;
            let end = at.checked_add(length).filter(|&e| e <= out.len())?;
            while at < end {
                // A match may overlap what it writes: copy at most up to the present end.
                let span = (at - start).min(end - at);
                out.copy_within(start..start + span, at);
                at += span;
            }
        }
        match next(&mut source) {
            Some(byte) => control = byte,
            None => return Some(at),
        }
    }
}

fn next(source: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = source.split_first()?;
    *source = rest;
    Some(first.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blosclz_literals_and_matches() {
        // Three literals, then a match of 3 + 3 bytes at distance 3.
        let mut out = [0; 9];
        assert_eq!(blosclz(&[2, b'a', b'b', b'c', 4 << 5, 2], &mut out), Some(9));
        assert_eq!(&out, b"abcabcabc");
        // A match before the beginning, a run beyond the input, more than fits.
        assert_eq!(blosclz(&[0, b'a', 1 << 5, 1], &mut out), None);
        assert_eq!(blosclz(&[5, b'a'], &mut out), None);
        assert_eq!(blosclz(&[0, b'a', 7 << 5, 255, 0, 0], &mut out), None);
        assert_eq!(blosclz(&[], &mut out), None);
    }

    #[test]
    fn wrong_sizes_are_errors() {
        let packed = lz4_flex::block::compress(&[7; 100]);
        assert!(Codec::Lz4.decode(&packed, &mut [0; 100]).is_ok());
        assert!(Codec::Lz4.decode(&packed, &mut [0; 99]).is_err());
        let message = Codec::Lz4.decode(&packed, &mut [0; 101]).unwrap_err();
        assert_eq!(message, "100 bytes instead of 101 come out");
        assert!(Codec::Zstd.decode(b"nonsense", &mut [0; 4]).is_err());
        assert!(Codec::Zlib.decode(b"nonsense", &mut [0; 4]).is_err());
    }
}
