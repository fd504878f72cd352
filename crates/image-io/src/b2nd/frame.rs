//! Header, index and trailer of a contiguous frame, with the `b2nd` metalayer.

use super::element::ElementType;
use super::layout::Layout;

/// Length of the header without metalayers.
const HEADER_MIN: usize = 87;

/// Longest header that is read; those of nnU-Net have about 200 bytes.
pub(super) const HEADER_MAX: usize = 1 << 20;

/// Bytes at the beginning that tell the header's length.
pub(super) const HEADER_START: usize = 24;

/// Most axes of an array.
const MAX_AXES: usize = 16;

/// What the header says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) header_len: u64,
    pub(super) frame_len: u64,
    /// Compressed size of all chunks: the index of the chunks follows behind.
    pub(super) chunks_len: u64,
    pub(super) chunk_bytes: u64,
    pub(super) block_bytes: u64,
    pub(super) shape: Vec<usize>,
    pub(super) layout: Layout,
    pub(super) element: ElementType,
}

/// What is wrong with a header: the field, what it is, what it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Not a frame at all.
    NotAFrame(String),
    /// A field with an impossible value.
    Field { field: &'static str, found: String, expected: String },
    /// A valid file that is not read here.
    Unsupported(String),
}

fn field<T>(
    field: &'static str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> Result<T, Problem> {
    Err(Problem::Field { field, found: found.into(), expected: expected.into() })
}

/// Length of the header, from the first [`HEADER_START`] bytes.
pub(super) fn header_len(start: &[u8]) -> Result<usize, Problem> {
    if start.get(2..10) != Some(b"b2frame\0") {
        let shown = String::from_utf8_lossy(&start[..start.len().min(10)]).into_owned();
        return Err(Problem::NotAFrame(format!("it begins with {shown:?}")));
    }
    let mut reader = Reader { bytes: start, at: 10 };
    let len = reader.be_uint(0xd2, 4, "header_len")?;
    match usize::try_from(len) {
        Ok(len) if (HEADER_MIN..=HEADER_MAX).contains(&len) => Ok(len),
        _ => field("header_len", len.to_string(), format!("{HEADER_MIN} to {HEADER_MAX}")),
    }
}

impl Header {
    /// Reads the complete header.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let header_len = header_len(bytes)? as u64;
        let mut reader = Reader { bytes, at: 15 };
        let frame_len = reader.be_uint(0xcf, 8, "frame_len")?;
        reader.expect(0xa4, "flags")?;
        let (general, kind) = (reader.byte("general_flags")?, reader.byte("frame_type")?);
        if general & 0x0f > 3 || (general >> 4) & 3 != 1 || general & 0xc0 != 0 {
            return Err(Problem::Unsupported(format!("a frame with flags {general:#04x}")));
        }
        if kind != 0 {
            return Err(Problem::Unsupported("a frame in several files".to_owned()));
        }
        reader.skip(2, "flags")?;
        reader.be_uint(0xd3, 8, "uncompressed_size")?;
        let chunks_len = reader.be_uint(0xd3, 8, "compressed_size")?;
        reader.be_uint(0xd2, 4, "type_size")?;
        let block_bytes = reader.be_uint(0xd2, 4, "block_size")?;
        let chunk_bytes = reader.be_uint(0xd2, 4, "chunk_size")?;
        let mut meta = metalayer(bytes)?;
        let (shape, layout, element) = parse_metalayer(&mut meta)?;
        Ok(Self { header_len, frame_len, chunks_len, chunk_bytes, block_bytes, shape, layout, element })
    }

    /// The bytes of the header; lengths and sizes must be set.
    pub(super) fn to_bytes(&self, uncompressed: u64, shuffled: bool) -> Vec<u8> {
        let meta = self.metalayer_bytes();
        let mut out = vec![0x9e, 0xa8];
        out.extend(b"b2frame\0");
        put_int(&mut out, 0xd2, 4, self.header_len);
        put_int(&mut out, 0xcf, 8, self.frame_len);
        // Flags: format version 2 with 64-bit offsets; contiguous; compression level 1 of LZ4; automatic split.
        out.extend([0xa4, 0x12, 0, 0x11, 2]);
        put_int(&mut out, 0xd3, 8, uncompressed);
        put_int(&mut out, 0xd3, 8, self.chunks_len);
        put_int(&mut out, 0xd2, 4, self.element.size() as u64);
        put_int(&mut out, 0xd2, 4, self.block_bytes);
        put_int(&mut out, 0xd2, 4, self.chunk_bytes);
        // One thread each; no variable-length metalayers.
        out.extend([0xd1, 0, 1, 0xd1, 0, 1, 0xc2]);
        // Six filters, the codec's number, six filter parameters.
        let mut pipeline = [0u8; 16];
        pipeline[0] = shuffled.into();
        pipeline[6] = 1;
        out.extend([0xd8, 6]);
        out.extend(pipeline);
        out.extend([0x93, 0xcd, 0, 17, 0xde, 0, 1, 0xa4]);
        out.extend(b"b2nd");
        put_int(&mut out, 0xd2, 4, HEADER_MIN as u64 + 20);
        out.extend([0xdc, 0, 1]);
        put_int(&mut out, 0xc6, 4, meta.len() as u64);
        out.extend(meta);
        out
    }

    fn metalayer_bytes(&self) -> Vec<u8> {
        let axes = self.shape.len() as u8;
        let mut out = vec![0x97, 0, axes, 0x90 + axes];
        self.shape.iter().for_each(|&n| put_int(&mut out, 0xd3, 8, n as u64));
        for lengths in [&self.layout.chunk, &self.layout.block] {
            out.push(0x90 + axes);
            lengths.iter().for_each(|&n| put_int(&mut out, 0xd2, 4, n as u64));
        }
        out.push(0);
        let name = self.element.numpy();
        put_int(&mut out, 0xdb, 4, name.len() as u64);
        out.extend(name.as_bytes());
        out
    }
}

/// The trailer without variable-length metalayers and fingerprint.
pub(super) fn trailer() -> Vec<u8> {
    let mut out = vec![0x94, 1, 0x93, 0xcd, 0, 6, 0xde, 0, 0, 0xdc, 0, 0];
    put_int(&mut out, 0xce, 4, 35);
    out.extend([0xd8, 0]);
    out.extend([0; 16]);
    out
}

/// A reader at the content of the metalayer `b2nd` (older files: `caterva` has no number type and is not read).
fn metalayer(bytes: &[u8]) -> Result<Reader<'_>, Problem> {
    let mut reader = Reader { bytes, at: HEADER_MIN };
    reader.expect(0x93, "metalayers")?;
    reader.be_uint(0xcd, 2, "metalayers")?;
    let count = reader.be_uint(0xde, 2, "metalayers")?;
    for _ in 0..count {
        let name_len = usize::from(reader.byte("metalayer name")? & 0x1f);
        let name = reader.take(name_len, "metalayer name")?;
        let at = reader.be_uint(0xd2, 4, "metalayer offset")?;
        if name == b"b2nd" {
            let mut content = Reader { bytes, at: usize::try_from(at).unwrap_or(usize::MAX) };
            content.be_uint(0xc6, 4, "metalayer b2nd")?;
            return Ok(content);
        }
    }
    Err(Problem::Unsupported("a Blosc2 frame without the metalayer b2nd (no array)".to_owned()))
}

fn parse_metalayer(meta: &mut Reader<'_>) -> Result<(Vec<usize>, Layout, ElementType), Problem> {
    if meta.byte("b2nd")? & 0xf0 != 0x90 {
        return field("b2nd", "something else", "an array");
    }
    let version = meta.byte("b2nd version")?;
    if version != 0 {
        return Err(Problem::Unsupported(format!("version {version} of the metalayer b2nd")));
    }
    let axes = usize::from(meta.byte("b2nd rank")?);
    if axes > MAX_AXES {
        return field("b2nd rank", axes.to_string(), format!("at most {MAX_AXES}"));
    }
    let mut lengths = |code: u8, size: usize, name: &'static str| {
        // Ranks of 16 do not fit the short form, which writers use nevertheless.
        meta.byte(name)?;
        (0..axes)
            .map(|_| {
                let value = meta.be_uint(code, size, name)?;
                let fits = usize::try_from(value).ok().filter(|&v| v <= isize::MAX as usize);
                fits.map_or_else(|| field(name, value.to_string(), "a length"), Ok)
            })
            .collect::<Result<Vec<usize>, Problem>>()
    };
    let shape = lengths(0xd3, 8, "b2nd shape")?;
    let layout =
        Layout { chunk: lengths(0xd2, 4, "b2nd chunkshape")?, block: lengths(0xd2, 4, "b2nd blockshape")? };
    let format = meta.byte("b2nd dtype format")?;
    let name_len = meta.be_uint(0xdb, 4, "b2nd dtype")?;
    let name = meta.take(usize::try_from(name_len).unwrap_or(usize::MAX), "b2nd dtype")?;
    let name = String::from_utf8_lossy(&name[..name.len().min(40)]);
    match ElementType::from_numpy(&name) {
        Some(element) if format == 0 => Ok((shape, layout, element)),
        _ => Err(Problem::Unsupported(format!("the number type {name:?}"))),
    }
}

fn put_int(out: &mut Vec<u8>, code: u8, size: usize, value: u64) {
    out.push(code);
    out.extend(&value.to_be_bytes()[8 - size..]);
}

/// A cursor over msgpack items of fixed form.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, name: &'static str) -> Result<&'a [u8], Problem> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let Some(taken) = taken else {
            return field(name, "beyond the header's end", "within the header");
        };
        self.at += len;
        Ok(taken)
    }

    fn skip(&mut self, len: usize, name: &'static str) -> Result<(), Problem> {
        self.take(len, name).map(|_| ())
    }

    fn byte(&mut self, name: &'static str) -> Result<u8, Problem> {
        Ok(self.take(1, name)?[0])
    }

    fn expect(&mut self, code: u8, name: &'static str) -> Result<(), Problem> {
        let found = self.byte(name)?;
        if found != code {
            return field(name, format!("of msgpack type {found:#04x}"), format!("type {code:#04x}"));
        }
        Ok(())
    }

    /// An unsigned integer of `size` bytes behind the type byte `code`.
    fn be_uint(&mut self, code: u8, size: usize, name: &'static str) -> Result<u64, Problem> {
        self.expect(code, name)?;
        Ok(self.take(size, name)?.iter().fold(0, |v, &b| v << 8 | u64::from(b)))
    }
}
