//! Reading of whole arrays and of regions: only the blocks that a region touches are read and decompressed.

use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::checks::{DAMAGED, MAX_ARRAY, check_sizes, refusal, truncated};
use super::chunk::{ChunkHeader, Content, HEADER};
use super::element::{Element, ElementType};
use super::frame::{self, HEADER_MAX, HEADER_START, Header};
use super::layout::Layout;
use super::positioned::read_at;
use super::region::{copy_from_block, for_each_index, linear, overlap, paste, volume};
use nnunet_volume::error::{Result, VolumeError};

/// Most chunks of a file: a terabyte in chunks of one megabyte.
const MAX_CHUNKS: usize = 1 << 20;

/// An array beyond this size must have a file of at least one byte per [`MAX_RATIO`] of its own: nothing but zeros
/// compresses further, and no image is so large and so empty.
const ALWAYS_READ: u64 = 4 << 30;

/// See [`ALWAYS_READ`].
const MAX_RATIO: u64 = 4096;

/// An open `.b2nd` file. Reading needs no exclusive access, so that threads may share it.
#[derive(Debug)]
pub struct B2ndReader {
    path: PathBuf,
    file: File,
    header: Header,
    /// Chunks per axis.
    grid: Vec<usize>,
    chunks: Vec<Place>,
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// At this position of the file.
    At(u64),
    /// Nowhere: all zeros or NaNs.
    Special(Content),
}

impl B2ndReader {
    /// Opens a file and reads its header and index.
    ///
    /// # Errors
    /// Files that are no such arrays, are damaged, or use what is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(|e| VolumeError::io(&path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(&path, "open it", e))?.len();
        let mut bytes = vec![0; HEADER_START.min(file_len as usize)];
        let refused = |problem| refusal(&path, problem);
        let read = |bytes: &mut [u8], at| {
            read_at(&file, bytes, at).map_err(|e| VolumeError::io(&path, "read it", e))
        };
        read(&mut bytes, 0)?;
        let header_len = frame::header_len(&bytes).map_err(refused)?.min(HEADER_MAX);
        if header_len as u64 > file_len {
            return Err(truncated(&path, header_len as u64, file_len));
        }
        bytes.resize(header_len, 0);
        read(&mut bytes, 0)?;
        let header = Header::parse(&bytes).map_err(refused)?;
        if header.frame_len > file_len {
            return Err(truncated(&path, header.frame_len, file_len));
        }
        check_sizes(&header).map_err(refused)?;
        let cuts = header.shape.iter().zip(&header.layout.chunk);
        let grid: Vec<usize> = cuts.map(|(&n, &c)| n.div_ceil(c)).collect();
        let mut reader = Self { path, file, header, grid, chunks: Vec::new() };
        reader.chunks = reader.read_index()?;
        Ok(reader)
    }

    /// Shape of the array, in its axis order.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Number type in the file.
    pub fn element_type(&self) -> ElementType {
        self.header.element
    }

    /// Chunk and block shape.
    pub fn layout(&self) -> &Layout {
        &self.header.layout
    }

    /// The whole array in C order; chunks are decompressed in parallel.
    ///
    /// # Errors
    /// Damaged files, and number types that `T` cannot hold exactly.
    pub fn read_all<T: Element>(&self) -> Result<Vec<T>> {
        let shape = self.header.shape.clone();
        let bytes = shape.iter().fold(size_of::<T>() as u64, |a, &b| a.saturating_mul(b as u64));
        let limit = self.header.frame_len.saturating_mul(MAX_RATIO).max(ALWAYS_READ);
        if bytes > limit {
            return Err(self.damaged(
                "b2nd shape",
                format!("{shape:?}"),
                format!("at most {limit} bytes in this file"),
            ));
        }
        let origin = vec![0; shape.len()];
        let mut out = self.allocate(&shape)?;
        // One piece per chunk is decompressed beside the others and then put in its place.
        let at_once = rayon::current_num_threads() * 2;
        for begin in (0..self.chunks.len()).step_by(at_once) {
            let end = (begin + at_once).min(self.chunks.len());
            let piece = |chunk: usize| {
                let (from, shape) = self.chunk_box(chunk);
                self.read_region::<T>(&from, &shape).map(|values| (from, shape, values))
            };
            let pieces: Vec<_> = (begin..end).into_par_iter().map(piece).collect::<Result<_>>()?;
            for (from, piece_shape, values) in pieces {
                paste((&from, &piece_shape, &values), (&origin, &shape, &mut out));
            }
        }
        Ok(out)
    }

    /// The region of `shape` that begins at `start`, in C order. It must lie within the array.
    ///
    /// # Errors
    /// Regions outside the array, damaged files, and number types that `T` cannot hold exactly.
    pub fn read_region<T: Element>(&self, start: &[usize], shape: &[usize]) -> Result<Vec<T>> {
        let mut out = self.allocate(shape)?;
        self.read_region_into(start, shape, &mut out)?;
        Ok(out)
    }

    /// As [`read_region`](Self::read_region), into memory that is there. `out` has as many elements as the region.
    pub fn read_region_into<T: Element>(
        &self,
        start: &[usize],
        shape: &[usize],
        out: &mut [T],
    ) -> Result<()> {
        let full = self.shape();
        let inside = start.len() == full.len()
            && shape.len() == full.len()
            && start
                .iter()
                .zip(shape)
                .zip(full)
                .all(|((s, n), f)| s.checked_add(*n).is_some_and(|e| e <= *f));
        if !inside || volume(shape) != Some(out.len()) {
            let asked = format!("the region of shape {shape:?} at {start:?} with {} elements", out.len());
            return Err(self.not_in_array(asked));
        }
        if !T::holds(self.header.element) {
            return Err(self.not_in_array(format!("numbers of type {}", T::TYPE.numpy())));
        }
        if out.is_empty() {
            return Ok(());
        }
        let chunk = &self.header.layout.chunk;
        let first: Vec<usize> = start.iter().zip(chunk).map(|(s, c)| s / c).collect();
        let ends = start.iter().zip(shape).zip(chunk);
        let last: Vec<usize> = ends.map(|((s, n), c)| (s + n).div_ceil(*c)).collect();
        let mut buffers = Buffers::default();
        for_each_index(&first, &last, |index| self.read_chunk(index, (start, shape, out), &mut buffers))
    }

    /// Copies what the chunk at `index` of the grid shares with the region.
    fn read_chunk<T: Element>(
        &self,
        index: &[usize],
        region: (&[usize], &[usize], &mut [T]),
        buffers: &mut Buffers,
    ) -> Result<()> {
        let (start, shape, out) = region;
        let Layout { chunk, block } = &self.header.layout;
        let origin: Vec<usize> = index.iter().zip(chunk).map(|(i, c)| i * c).collect();
        let blocks_per_axis: Vec<usize> = chunk.iter().zip(block).map(|(c, b)| c.div_ceil(*b)).collect();
        // The touched blocks, counted from the chunk's origin.
        let (begin, end) = overlap((&origin, chunk), (start, shape));
        let bound = |at: &[usize], up: bool| -> Vec<usize> {
            let relative = at.iter().zip(&origin).map(|(a, o)| a - o).zip(block);
            relative.map(|(r, b)| if up { r.div_ceil(*b) } else { r / b }).collect()
        };
        let opened = self.open_chunk(linear(index, &self.grid), buffers)?;
        for_each_index(&bound(&begin, false), &bound(&end, true), |index| {
            self.read_block(&opened, linear(index, &blocks_per_axis), buffers)?;
            let from: Vec<usize> = origin.iter().zip(index).zip(block).map(|((o, i), b)| o + i * b).collect();
            copy_from_block(self.header.element, (&from, block, &buffers.block), (start, shape, &mut *out));
            Ok(())
        })
    }

    /// Reads the header of chunk number `chunk` and the places of its blocks.
    fn open_chunk(&self, chunk: usize, buffers: &mut Buffers) -> Result<OpenChunk> {
        let (position, header) = match self.chunks[chunk] {
            Place::Special(content) => {
                let mut bytes = super::chunk::header_bytes(
                    self.header.element.size(),
                    self.header.chunk_bytes as usize,
                    self.header.block_bytes as usize,
                    HEADER,
                    false,
                    false,
                );
                bytes[31] = if content == Content::Nans { 2 << 4 } else { 1 << 4 };
                (0, self.parse_chunk(&bytes)?)
            }
            Place::At(position) => (position, self.chunk_header(position)?),
        };
        let sizes = (header.bytes as u64, header.block_bytes as u64);
        if sizes != (self.header.chunk_bytes, self.header.block_bytes) {
            let expected = (self.header.chunk_bytes, self.header.block_bytes);
            return Err(self.damaged(
                "bytes of a chunk and its blocks",
                format!("{sizes:?}"),
                format!("{expected:?}"),
            ));
        }
        let mut opened = OpenChunk { header, position, spans: Vec::new(), value: Vec::new() };
        match opened.header.content {
            Content::Blocks { .. } => {
                let mut table = vec![0; opened.header.blocks().saturating_mul(4)];
                if HEADER + table.len() > opened.header.len {
                    return Err(self.bad_chunk("a chunk shorter than its table of blocks".to_owned()));
                }
                self.read(&mut table, position + HEADER as u64)?;
                opened.spans = opened.header.block_spans(&table).map_err(|e| self.bad_chunk(e))?;
                buffers.first.clear();
                if opened.header.needs_first_block() {
                    self.read_block(&opened, 0, buffers)?;
                    std::mem::swap(&mut buffers.first, &mut buffers.block);
                }
            }
            Content::Value => {
                opened.value = vec![0; (opened.header.len - HEADER).min(HEADER_MAX)];
                self.read(&mut opened.value, position + HEADER as u64)?;
            }
            Content::Zeros | Content::Nans | Content::Stored => {}
        }
        Ok(opened)
    }

    /// Decompresses one block into `buffers.block`.
    fn read_block(&self, chunk: &OpenChunk, block: usize, buffers: &mut Buffers) -> Result<()> {
        let Buffers { packed, block: out, scratch, first } = buffers;
        let header = &chunk.header;
        out.resize(header.block_len(block), 0);
        let done = match header.content {
            Content::Blocks { .. } => {
                let (begin, end) = chunk.spans[block];
                packed.resize(end - begin, 0);
                self.read(packed, chunk.position + begin as u64)?;
                let first = (!first.is_empty()).then_some(first.as_slice());
                header.decode_block(block, packed, first, scratch, out)
            }
            Content::Stored => {
                let at = HEADER as u64 + block as u64 * self.header.block_bytes;
                return self.read(out, chunk.position + at);
            }
            Content::Zeros | Content::Nans | Content::Value => header.fill(&chunk.value, out),
        };
        done.map_err(|e| self.bad_chunk(e))
    }

    /// The places of all chunks, from the index chunk behind them.
    fn read_index(&self) -> Result<Vec<Place>> {
        let count = volume(&self.grid).unwrap_or(usize::MAX);
        if count > MAX_CHUNKS {
            return Err(self.damaged("number of chunks", count.to_string(), format!("at most {MAX_CHUNKS}")));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let position = self.header.header_len.saturating_add(self.header.chunks_len);
        let header = self.chunk_header(position)?;
        if header.bytes != count * 8 {
            let found = format!("{} bytes", header.bytes);
            return Err(self.damaged("index of the chunks", found, format!("{} bytes", count * 8)));
        }
        let mut bytes = vec![0; header.len - HEADER];
        self.read(&mut bytes, position + HEADER as u64)?;
        let mut offsets = vec![0u8; count * 8];
        header.decode_all(&bytes, &mut offsets).map_err(|e| self.bad_chunk(e))?;
        offsets.as_chunks::<8>().0.iter().map(|b| self.place(i64::from_le_bytes(*b))).collect()
    }

    /// Where the offset of the index points to.
    fn place(&self, offset: i64) -> Result<Place> {
        if offset < 0 {
            return Ok(match (offset >> 56) & 0x7f {
                kind if kind & 0b101 != 0 => Place::Special(Content::Zeros),
                kind if kind & 0b10 != 0 => Place::Special(Content::Nans),
                _ => return Err(self.bad_chunk(format!("a special chunk {offset:#x}"))),
            });
        }
        match self.header.header_len.checked_add(offset as u64).filter(|&p| p < self.header.frame_len) {
            Some(position) => Ok(Place::At(position)),
            None => Err(self.bad_chunk(format!("a chunk at {offset}, beyond the end of the file"))),
        }
    }

    fn chunk_header(&self, position: u64) -> Result<ChunkHeader> {
        let mut bytes = [0; HEADER];
        self.read(&mut bytes, position)?;
        let header = self.parse_chunk(&bytes)?;
        if position.checked_add(header.len as u64).is_none_or(|end| end > self.header.frame_len) {
            return Err(
                self.bad_chunk(format!("a chunk of {} bytes at {position}, beyond the end", header.len))
            );
        }
        Ok(header)
    }

    fn parse_chunk(&self, bytes: &[u8; HEADER]) -> Result<ChunkHeader> {
        ChunkHeader::parse(bytes).map_err(|e| self.bad_chunk(e))
    }

    /// Origin and shape of chunk number `chunk`, without the part beyond the array.
    fn chunk_box(&self, chunk: usize) -> (Vec<usize>, Vec<usize>) {
        let mut rest = chunk;
        let mut origin = vec![0; self.grid.len()];
        for axis in (0..self.grid.len()).rev() {
            origin[axis] = rest % self.grid[axis] * self.header.layout.chunk[axis];
            rest /= self.grid[axis];
        }
        let full = self.shape().iter().zip(&self.header.layout.chunk).zip(&origin);
        let shape = full.map(|((n, c), o)| (*c).min(n - o)).collect();
        (origin, shape)
    }

    fn allocate<T: Element>(&self, shape: &[usize]) -> Result<Vec<T>> {
        let mut out = Vec::new();
        let count = volume(shape).filter(|n| n.checked_mul(size_of::<T>()).is_some_and(|b| b <= MAX_ARRAY));
        let fits = count.is_some_and(|n| out.try_reserve_exact(n).is_ok());
        let Some(count) = count.filter(|_| fits) else {
            let voxels = shape.iter().fold(1u64, |a, &b| a.saturating_mul(b as u64));
            return Err(VolumeError::OutOfMemory { path: self.path.clone(), voxels });
        };
        out.resize(count, T::default());
        Ok(out)
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        read_at(&self.file, bytes, at).map_err(|e| VolumeError::io(&self.path, "read it", e))
    }

    fn damaged(&self, field: &str, found: String, expected: String) -> VolumeError {
        VolumeError::BadHeader {
            path: self.path.clone(),
            field: field.to_owned(),
            found,
            expected,
            advice: DAMAGED,
        }
    }

    fn bad_chunk(&self, found: String) -> VolumeError {
        self.damaged("a chunk", found, "valid compressed data".to_owned())
    }

    fn not_in_array(&self, asked: String) -> VolumeError {
        let stored = self.header.element.numpy().to_owned();
        VolumeError::NotInArray { path: self.path.clone(), asked, stored, shape: self.header.shape.clone() }
    }
}

struct OpenChunk {
    header: ChunkHeader,
    position: u64,
    /// Begin and end of each compressed block within the chunk.
    spans: Vec<(usize, usize)>,
    /// The element that all are equal to, for chunks of one value.
    value: Vec<u8>,
}

/// Memory that is used again from block to block.
#[derive(Default)]
struct Buffers {
    packed: Vec<u8>,
    block: Vec<u8>,
    scratch: Vec<u8>,
    /// The chunk's first block, where its filters need it.
    first: Vec<u8>,
}
