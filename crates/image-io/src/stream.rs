//! A file's bytes as a stream, decompressed where they are compressed.

use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::{GzDecoder, ZlibDecoder};

use super::voxels::{CHUNK, read_up_to};

/// What a file is from some byte on: bytes that were read already, then the rest.
type Raw = BufReader<Chain<Cursor<Vec<u8>>, File>>;

/// How the bytes of a stream are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
    Gzip,
}

/// A stream of voxels.
pub(super) enum ByteStream {
    Plain(Raw),
    Zlib(ZlibDecoder<Raw>),
    /// `None` only between two members.
    Gzip(Option<GzDecoder<Raw>>),
    /// A gzip stream of which all members were read.
    EndOfGzip(Raw),
}

impl ByteStream {
    /// The bytes of `head`, then those of `file`.
    pub(super) fn new(head: Vec<u8>, file: File, compression: Compression) -> Self {
        let raw = BufReader::with_capacity(CHUNK, Cursor::new(head).chain(file));
        match compression {
            Compression::None => Self::Plain(raw),
            Compression::Zlib => Self::Zlib(ZlibDecoder::new(raw)),
            Compression::Gzip => Self::Gzip(Some(GzDecoder::new(raw))),
        }
    }

    /// Whether there are bytes left: voxels that nobody asked for, or anything but zeros behind the end of the
    /// compressed data. Reads up to the checksum of a compressed stream, which is behind its last byte.
    ///
    /// # Errors
    /// A checksum that does not fit, or whatever the operating system refuses.
    pub(super) fn has_more(&mut self) -> std::io::Result<bool> {
        if read_up_to(self, &mut [0])? > 0 {
            return Ok(true);
        }
        match self {
            Self::Plain(_) | Self::Gzip(_) => Ok(false),
            Self::Zlib(decoder) => has_more_than_zeros(decoder.get_mut()),
            Self::EndOfGzip(raw) => has_more_than_zeros(raw),
        }
    }
}

/// Some programs fill up the last block of a file with zeros.
fn has_more_than_zeros(raw: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let bytes = raw.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if bytes.iter().any(|&b| b != 0) {
            return Ok(true);
        }
        let zeros = bytes.len();
        raw.consume(zeros);
    }
}

impl Read for ByteStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let decoder = match self {
                Self::Plain(raw) => return raw.read(buffer),
                Self::Zlib(decoder) => return decoder.read(buffer),
                Self::EndOfGzip(_) | Self::Gzip(None) => return Ok(0),
                Self::Gzip(decoder) => decoder,
            };
            let got = decoder.as_mut().map_or(Ok(0), |decoder| decoder.read(buffer))?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            // The member ends here: another one may follow, or bytes that are not compressed.
            let Some(mut raw) = decoder.take().map(GzDecoder::into_inner) else { return Ok(0) };
            *self = if raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
                Self::Gzip(Some(GzDecoder::new(raw)))
            } else {
                Self::EndOfGzip(raw)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_testkit::phantom::gzip;

    fn stream(bytes: &[u8], compression: Compression) -> ByteStream {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, &bytes[3..]).unwrap();
        ByteStream::new(bytes[..3].to_vec(), File::open(path).unwrap(), compression)
    }

    fn all(stream: &mut ByteStream, length: usize) -> (Vec<u8>, bool) {
        let mut out = vec![0; length];
        let got = read_up_to(stream, &mut out).unwrap();
        out.truncate(got);
        (out, stream.has_more().unwrap())
    }

    #[test]
    fn members_follow_one_another_and_what_is_behind_them_is_noticed() {
        let text = b"some bytes, and more of them";
        let two = [gzip(&text[..10]), gzip(&text[10..])].concat();
        for (behind, more) in [(&b""[..], false), (&[0; 700], false), (b"rubbish", true), (b"\0\0x", true)] {
            let (got, noticed) = all(&mut stream(&[&two, behind].concat(), Compression::Gzip), text.len());
            assert_eq!((got.as_slice(), noticed), (&text[..], more), "{behind:?}");
        }
        assert_eq!(all(&mut stream(&two, Compression::Gzip), 12), (text[..12].to_vec(), true));
        assert_eq!(all(&mut stream(text, Compression::None), text.len()), (text.to_vec(), false));
        assert_eq!(all(&mut stream(text, Compression::None), 5), (text[..5].to_vec(), true));
    }

    #[test]
    fn a_checksum_is_held_against_the_bytes_before_the_rest_is_ignored() {
        let mut bytes = gzip(b"some bytes");
        let end = bytes.len();
        bytes[end - 6] ^= 1;
        bytes.extend(b"rubbish");
        let mut stream = stream(&bytes, Compression::Gzip);
        let mut out = [0; 10];
        read_up_to(&mut stream, &mut out).unwrap();
        assert!(stream.has_more().is_err());
    }
}
