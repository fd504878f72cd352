//! One chunk: its header, and the decompression of its blocks.

use super::codec::Codec;
use super::filter;

/// Length of the header.
pub(super) const HEADER: usize = 32;

/// Bytes of `flags`: shuffle and bitshuffle at once mean the long header.
const LONG_HEADER: u8 = 0b101;
const STORED: u8 = 0b10;
const NOT_SPLIT: u8 = 0b1_0000;

/// What a chunk's header says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChunkHeader {
    version: u8,
    element_size: usize,
    /// Uncompressed bytes.
    pub(super) bytes: usize,
    /// Uncompressed bytes of a block; the last one may be shorter.
    pub(super) block_bytes: usize,
    /// Bytes in the file, header included.
    pub(super) len: usize,
    pub(super) content: Content,
    filters: Vec<Filter>,
}

/// What lies behind the header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// Nothing: all bytes are zero (or were never set).
    Zeros,
    /// Nothing: all elements are NaN.
    Nans,
    /// One element, which all are equal to.
    Value,
    /// The uncompressed bytes.
    Stored,
    /// Offsets of the blocks, then the compressed blocks.
    Blocks { codec: Codec, split: bool },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Filter {
    Shuffle(usize),
    BitShuffle,
    Delta,
}

impl ChunkHeader {
    /// Reads the first [`HEADER`] bytes of a chunk; says in words what is wrong with them.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, String> {
        let int = |at: usize| {
            let value = i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            usize::try_from(value).map_err(|_| format!("a negative size ({value})"))
        };
        let (version, flags, element_size) = (bytes[0], bytes[2], usize::from(bytes[3]));
        if version > 5 || flags & LONG_HEADER != LONG_HEADER {
            return Err(format!("a chunk of version {version} with flags {flags:#04x}"));
        }
        let (uncompressed, block_bytes, len) = (int(4)?, int(8)?, int(12)?);
        let empty = uncompressed > 0 && block_bytes == 0;
        if element_size == 0 || empty || len < HEADER {
            return Err(format!(
                "a chunk of {uncompressed} bytes in blocks of {block_bytes}, stored in {len}"
            ));
        }
        let (more_flags, even_more_flags) = (bytes[31], bytes[30]);
        if more_flags & 1 != 0 || even_more_flags != 0 {
            return Err("a chunk with a dictionary or blocks of variable length".to_owned());
        }
        let content = match (more_flags >> 4) & 7 {
            0 if flags & STORED != 0 => {
                if len != uncompressed + HEADER {
                    return Err(format!("{uncompressed} uncompressed bytes stored in {len}"));
                }
                Content::Stored
            }
            0 => {
                let codec =
                    Codec::from_flags(flags).ok_or_else(|| format!("compressor number {}", flags >> 5))?;
                Content::Blocks { codec, split: flags & NOT_SPLIT == 0 }
            }
            // Values that were never set may be anything.
            1 | 4 => Content::Zeros,
            2 => Content::Nans,
            3 => Content::Value,
            other => return Err(format!("special chunk number {other}")),
        };
        let filters = filters(&bytes[16..22], &bytes[24..30], element_size)?;
        Ok(Self { version, element_size, bytes: uncompressed, block_bytes, len, content, filters })
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.bytes.div_ceil(self.block_bytes.max(1))
    }

    /// Uncompressed bytes of block `block`.
    pub(super) fn block_len(&self, block: usize) -> usize {
        self.block_bytes.min(self.bytes - block * self.block_bytes)
    }

    /// Whether a block can only be decompressed with the chunk's first block.
    pub(super) fn needs_first_block(&self) -> bool {
        self.filters.contains(&Filter::Delta)
    }

    /// Where each block lies within the chunk (begin, end), from the table behind the header.
    ///
    /// The table has the beginnings only, in any order of place: a block ends where the next one begins.
    pub(super) fn block_spans(&self, table: &[u8]) -> Result<Vec<(usize, usize)>, String> {
        let first = HEADER + table.len();
        let (starts, _) = table.as_chunks::<4>();
        let starts: Vec<usize> = starts.iter().map(|b| u32::from_le_bytes(*b) as usize).collect();
        let mut order = starts.clone();
        order.sort_unstable();
        let span = |&start: &usize| {
            let end = order[order.partition_point(|&s| s <= start)..].first().copied().unwrap_or(self.len);
            if start < first || end > self.len || start >= end {
                return Err(format!("a block at {start} in a chunk of {} bytes", self.len));
            }
            Ok((start, end))
        };
        starts.iter().map(span).collect()
    }

    /// Fills `out` with a special value; `value` is what follows the header.
    pub(super) fn fill(&self, value: &[u8], out: &mut [u8]) -> Result<(), String> {
        let nan32 = f32::NAN.to_le_bytes();
        let nan64 = f64::NAN.to_le_bytes();
        let element = match (self.content, self.element_size) {
            (Content::Value, _) if !value.is_empty() => value,
            (Content::Nans, 4) => &nan32,
            (Content::Nans, 8) => &nan64,
            (Content::Zeros, _) => &[0][..],
            _ => return Err(format!("a special chunk of elements of {} bytes", self.element_size)),
        };
        for slot in out.chunks_mut(element.len()) {
            slot.copy_from_slice(&element[..slot.len()]);
        }
        Ok(())
    }

    /// Decompresses block number `block` from its bytes `source` into `out`, which has the block's length.
    /// `first` is the chunk's first block, where [`needs_first_block`](Self::needs_first_block).
    pub(super) fn decode_block(
        &self,
        block: usize,
        source: &[u8],
        first: Option<&[u8]>,
        scratch: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<(), String> {
        let Content::Blocks { codec, split } = self.content else {
            return Err("no compressed blocks".to_owned());
        };
        // A shorter last block is never split.
        let streams = if split && out.len() == self.block_bytes { self.element_size } else { 1 };
        // A filter reads from the scratch memory and writes to the output; the first one finds it filled.
        let rearranges = matches!(self.filters.last(), Some(Filter::Shuffle(2..) | Filter::BitShuffle));
        if rearranges {
            scratch.resize(out.len(), 0);
            decode_streams(codec, streams, source, scratch)?;
        } else {
            decode_streams(codec, streams, source, out)?;
        }
        for (applied, filter) in self.filters.iter().rev().enumerate() {
            if applied > 0 && !matches!(filter, Filter::Delta) {
                copy_to(scratch, out);
            }
            match *filter {
                Filter::Shuffle(1) => {}
                Filter::Shuffle(size) => filter::unshuffle(size, scratch, out),
                Filter::BitShuffle => filter::bit_unshuffle(self.element_size, self.version, scratch, out),
                Filter::Delta => match first {
                    _ if block == 0 => filter::undo_delta_first(self.element_size, out),
                    Some(first) => filter::undo_delta(self.element_size, first, out),
                    None => return Err("a delta filter without its first block".to_owned()),
                },
            }
        }
        Ok(())
    }

    /// Decompresses a whole chunk, given what follows its header.
    pub(super) fn decode_all(&self, bytes: &[u8], out: &mut [u8]) -> Result<(), String> {
        match self.content {
            Content::Stored => {
                out.copy_from_slice(bytes.get(..out.len()).ok_or("too few bytes")?);
                Ok(())
            }
            Content::Zeros | Content::Nans | Content::Value => self.fill(bytes, out),
            Content::Blocks { .. } => {
                let table = bytes.get(..self.blocks().saturating_mul(4)).ok_or("no table of blocks")?;
                let spans = self.block_spans(table)?;
                let mut scratch = Vec::new();
                let mut first: Option<Vec<u8>> = None;
                for (block, (to, &(begin, end))) in out.chunks_mut(self.block_bytes).zip(&spans).enumerate() {
                    let packed = &bytes[begin - HEADER..end - HEADER];
                    self.decode_block(block, packed, first.as_deref(), &mut scratch, to)?;
                    if first.is_none() && self.needs_first_block() {
                        first = Some(to.to_vec());
                    }
                }
                Ok(())
            }
        }
    }
}

fn copy_to(scratch: &mut Vec<u8>, bytes: &[u8]) {
    scratch.clear();
    scratch.extend_from_slice(bytes);
}

fn filters(ids: &[u8], parameters: &[u8], element_size: usize) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    for (&id, &parameter) in ids.iter().zip(parameters) {
        match id {
            // None, or truncated precision, which cannot be undone.
            0 | 4 => {}
            1 => filters.push(Filter::Shuffle(if parameter == 0 { element_size } else { parameter.into() })),
            2 => filters.push(Filter::BitShuffle),
            // Behind another filter the reference block would be one that is not at hand.
            3 if filters.is_empty() => filters.push(Filter::Delta),
            _ => return Err(format!("filter number {id} in this place")),
        }
    }
    Ok(filters)
}

/// Decompresses the streams of a block one behind the other.
fn decode_streams(codec: Codec, streams: usize, mut source: &[u8], out: &mut [u8]) -> Result<(), String> {
    if !out.len().is_multiple_of(streams) || out.is_empty() {
        return Err(format!("a block of {} bytes in {streams} streams", out.len()));
    }
    let stream_len = out.len() / streams;
    for stream in out.chunks_exact_mut(stream_len) {
        let (size, rest) = source.split_first_chunk::<4>().ok_or("a block without its size")?;
        let size = i32::from_le_bytes(*size);
        source = rest;
        match usize::try_from(size) {
            Ok(0) => stream.fill(0),
            Ok(size) => {
                let (packed, rest) = source.split_at_checked(size).ok_or("a stream beyond its block")?;
                source = rest;
                if size == stream_len {
                    stream.copy_from_slice(packed);
                } else {
                    codec.decode(packed, stream)?;
                }
            }
            Err(_) => {
                // One byte repeated: the negative size holds it, a token follows.
                let (token, rest) = source.split_first().ok_or("a run without its token")?;
                let byte = u8::try_from(size.unsigned_abs()).map_err(|_| "a run of more than a byte")?;
                if token & 1 == 0 {
                    return Err(format!("token {token:#04x} of a stream"));
                }
                source = rest;
                stream.fill(byte);
            }
        }
    }
    Ok(())
}

/// A header for a chunk of LZ4 blocks or of stored bytes.
pub(super) fn header_bytes(
    element_size: usize,
    bytes: usize,
    block_bytes: usize,
    len: usize,
    stored: bool,
    shuffled: bool,
) -> [u8; HEADER] {
    let mut out = [0u8; HEADER];
    // Version 5 of the format, version 1 of LZ4's; one stream per block; LZ4.
    let flags = LONG_HEADER | NOT_SPLIT | 1 << 5 | if stored { STORED } else { 0 };
    out[..4].copy_from_slice(&[5, 1, flags, element_size as u8]);
    out[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
    out[8..12].copy_from_slice(&(block_bytes as u32).to_le_bytes());
    out[12..16].copy_from_slice(&(len as u32).to_le_bytes());
    out[16] = shuffled.into();
    // The codec's own number.
    out[22] = 1;
    out
}
