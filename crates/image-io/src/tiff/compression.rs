//! How the strips and tiles of a page are compressed.

use std::io::Read;

/// The compressions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstandard,
    Jpeg,
}

impl Compression {
    /// From the tag's value; the name of a compression that is not read otherwise.
    pub(super) fn of(code: u64) -> Result<Self, String> {
        Ok(match code {
            1 => Self::None,
            5 => Self::Lzw,
            7 => Self::Jpeg,
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            34926 | 50000 => Self::Zstandard,
            other => {
                let name = match other {
                    2 => "CCITT run lengths",
                    3 => "CCITT fax group 3",
                    4 => "CCITT fax group 4",
                    6 => "old JPEG",
                    33003 | 33005 | 34712 => "JPEG 2000",
                    34887 => "LERC",
                    34892 => "lossy JPEG of DNG",
                    34925 => "LZMA",
                    34927 | 50001 => "WebP",
                    34934 | 48124 | 22610 => "JPEG XR",
                    50002 | 52546 => "JPEG XL",
                    _ => "unknown",
                };
                return Err(format!("compression {other} ({name})"));
            }
        })
    }

    /// The most bytes that come out of one compressed byte.
    pub(super) fn largest_expansion(self) -> u64 {
        match self {
            Self::None => 1,
            // A run of 128 in two bytes.
            Self::PackBits => 64,
            // Deflate's bound; a code of LZW stands for at most 4096 bytes.
            Self::Lzw | Self::Deflate => 4096,
            // A block of 64 pixels in each of three colours has at least a code of one bit each.
            Self::Jpeg => 8192,
            // Runs of up to 128 KiB; empty strips of usual lengths have a frame of some twenty bytes.
            Self::Zstandard => 1 << 14,
        }
    }

    /// Decodes `source` to `expected` bytes; what goes beyond them is dropped. Says in words what is wrong otherwise.
    /// JPEG is no such compression: it has pixels, see [`super::chunk`].
    pub(super) fn decode(self, mut source: Vec<u8>, expected: usize) -> Result<Vec<u8>, String> {
        let out = match self {
            Self::None | Self::Jpeg => {
                source.truncate(expected);
                source
            }
            Self::Deflate => {
                read_some(flate2::read::ZlibDecoder::new(source.as_slice()), expected, "deflate")?
            }
            Self::Zstandard => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(source.as_slice())
                    .map_err(|e| format!("invalid Zstandard data ({e})"))?;
                read_some(decoder, expected, "Zstandard")?
            }
            Self::Lzw => lzw(&source, expected)?,
            Self::PackBits => pack_bits(&source, expected),
        };
        if out.len() < expected {
            return Err(format!("{} bytes instead of {expected} come out", out.len()));
        }
        Ok(out)
    }
}

fn read_some(decoder: impl Read, expected: usize, name: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = decoder.take(expected as u64).read_to_end(&mut out);
    read.map_err(|e| format!("invalid {name} data ({e})"))?;
    Ok(out)
}

fn lzw(source: &[u8], expected: usize) -> Result<Vec<u8>, String> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let mut out = Vec::new();
    let mut rest = source;
    let mut buffer = vec![0; expected.clamp(1, 1 << 16)];
    while out.len() < expected {
        let result = decoder.decode_bytes(rest, &mut buffer);
        out.extend_from_slice(&buffer[..result.consumed_out]);
        rest = &rest[result.consumed_in..];
        match result.status {
            Err(e) => return Err(format!("invalid LZW data ({e})")),
            Ok(weezl::LzwStatus::Done) => break,
            Ok(_) if result.consumed_out == 0 && result.consumed_in == 0 => break,
            Ok(_) => {}
        }
    }
    out.truncate(expected);
    Ok(out)
}

fn pack_bits(mut source: &[u8], expected: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while let [control, rest @ ..] = source {
        if out.len() >= expected {
            break;
        }
        source = match *control as i8 {
            -128 => rest,
            control @ 0.. => {
                let (run, rest) = rest.split_at(rest.len().min(control as usize + 1));
                out.extend_from_slice(run);
                rest
            }
            control => {
                let Some((&byte, rest)) = rest.split_first() else { break };
                out.extend(std::iter::repeat_n(byte, 1 + usize::from(control.unsigned_abs())));
                rest
            }
        };
    }
    out.truncate(expected);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_by_hand() {
        // The example of the TIFF 6.0 specification.
        let packed =
            [0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7, 0xaa];
        let plain = [
            0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0x22, 0xaa, 0xaa,
            0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
        ];
        assert_eq!(Compression::PackBits.decode(packed.to_vec(), 24).unwrap(), plain);
        assert!(Compression::PackBits.decode(packed.to_vec(), 25).unwrap_err().contains("24 bytes"));
    }

    #[test]
    fn what_is_not_read_has_its_name() {
        assert_eq!(Compression::of(34925).unwrap_err(), "compression 34925 (LZMA)");
        assert_eq!(Compression::of(12).unwrap_err(), "compression 12 (unknown)");
    }
}
