//! Writing of arrays: blocks compressed with LZ4 in parallel, with or without shuffle, whichever is smaller.

use std::io::Write;
use std::path::Path;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use rayon::prelude::*;

use super::chunk::{HEADER, header_bytes};
use super::element::Element;
use super::filter::shuffle;
use super::frame::{Header, trailer};
use super::layout::Layout;
use super::region::{for_each_index, linear, overlap, volume};
use crate::write_file;
use nnunet_volume::error::{Result, VolumeError};

/// The index entry of a chunk of zeros, which takes no room.
const ZEROS: u64 = 0x81 << 56;

/// Writes `data` of `shape` (C order) to `path`, cut as `layout` says (see [`patch_layout`](super::patch_layout)).
///
/// Python's `blosc2` and nnU-Net read the file; values come back bit for bit. The bytes of the file depend on the
/// data and the layout only.
///
/// # Errors
/// Shapes that do not fit each other, empty arrays, and whatever the system refuses.
pub fn write_b2nd<T: Element>(path: &Path, shape: &[usize], data: &[T], layout: &Layout) -> Result<()> {
    let array = Array::new(shape, data, layout).ok_or_else(|| VolumeError::NotInArray {
        path: path.to_owned(),
        asked: format!(
            "{} elements in chunks of {:?} and blocks of {:?}",
            data.len(),
            layout.chunk,
            layout.block
        ),
        stored: T::TYPE.numpy().to_owned(),
        shape: shape.to_vec(),
    })?;
    let shuffled = array.shuffle_pays();
    let count = array.grid.iter().product::<usize>();
    let at_once = rayon::current_num_threads() * 2;
    let mut offsets = Vec::with_capacity(count * 8);
    let mut chunks_len = 0u64;
    let mut chunks: Vec<Vec<u8>> = Vec::with_capacity(count);
    for begin in (0..count).step_by(at_once) {
        let end = (begin + at_once).min(count);
        let packed: Vec<_> = (begin..end).into_par_iter().map(|c| array.chunk(c, shuffled)).collect();
        for chunk in packed {
            offsets.extend(if chunk.is_some() { chunks_len } else { ZEROS }.to_le_bytes());
            let chunk = chunk.unwrap_or_default();
            chunks_len += chunk.len() as u64;
            chunks.push(chunk);
        }
    }
    let index_len = HEADER + offsets.len();
    let index = header_bytes(8, offsets.len(), offsets.len(), index_len, true, false);
    let mut header = Header {
        header_len: 0,
        frame_len: 0,
        chunks_len,
        chunk_bytes: array.chunk_bytes as u64,
        block_bytes: array.block_bytes as u64,
        shape: shape.to_vec(),
        layout: layout.clone(),
        element: T::TYPE,
    };
    let trailer = trailer();
    let uncompressed = count as u64 * header.chunk_bytes;
    header.header_len = header.to_bytes(uncompressed, shuffled).len() as u64;
    header.frame_len = header.header_len + chunks_len + index_len as u64 + trailer.len() as u64;
    write_file(path, |out| {
        out.write_all(&header.to_bytes(uncompressed, shuffled))?;
        chunks.iter().try_for_each(|chunk| out.write_all(chunk))?;
        out.write_all(&index)?;
        out.write_all(&offsets)?;
        out.write_all(&trailer)
    })
}

/// An array and how it is cut.
struct Array<'a, T> {
    shape: &'a [usize],
    data: &'a [T],
    layout: &'a Layout,
    /// Chunks per axis.
    grid: Vec<usize>,
    /// Blocks of a chunk per axis.
    blocks: Vec<usize>,
    block_bytes: usize,
    chunk_bytes: usize,
}

impl<'a, T: Element> Array<'a, T> {
    /// `None` where the parts do not fit together.
    fn new(shape: &'a [usize], data: &'a [T], layout: &'a Layout) -> Option<Self> {
        let Layout { chunk, block } = layout;
        let ranks =
            (1..=8).contains(&shape.len()) && chunk.len() == shape.len() && block.len() == shape.len();
        let lengths = shape.iter().chain(chunk).chain(block);
        if !ranks || lengths.clone().any(|&n| n == 0) || volume(shape) != Some(data.len()) {
            return None;
        }
        let per = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a.div_ceil(*b)).collect::<Vec<_>>();
        let (grid, blocks) = (per(shape, chunk), per(chunk, block));
        let block_bytes = volume(block)?.checked_mul(T::TYPE.size())?;
        let chunk_bytes = volume(&blocks)?.checked_mul(block_bytes)?;
        // Chunks, their tables and blocks that do not shrink fit 31 bits.
        (chunk_bytes < i32::MAX as usize / 2).then_some(Self {
            shape,
            data,
            layout,
            grid,
            blocks,
            block_bytes,
            chunk_bytes,
        })
    }

    /// Whether the chunk in the middle is smaller with shuffled bytes (nnU-Net's rule: the smaller of both, none
    /// in case of a tie).
    fn shuffle_pays(&self) -> bool {
        if T::TYPE.size() == 1 {
            return false;
        }
        let middle: Vec<usize> = self.grid.iter().map(|n| n / 2).collect();
        let middle = linear(&middle, &self.grid);
        let len = |shuffled| self.chunk(middle, shuffled).map_or(0, |c| c.len());
        len(true) < len(false)
    }

    /// The bytes of chunk number `chunk`; `None` if all of it is zero.
    fn chunk(&self, chunk: usize, shuffled: bool) -> Option<Vec<u8>> {
        let origin = index_of(chunk, &self.grid, &self.layout.chunk);
        let count = self.blocks.iter().product::<usize>();
        let blocks: Vec<Option<Vec<u8>>> = (0..count)
            .into_par_iter()
            .map_init(Packer::default, |p, b| self.block(p, &origin, b, shuffled))
            .collect();
        if blocks.iter().all(Option::is_none) {
            return None;
        }
        let table_end = HEADER + 4 * count;
        let len = table_end + blocks.iter().map(|b| 4 + b.as_ref().map_or(0, Vec::len)).sum::<usize>();
        if len >= HEADER + self.chunk_bytes {
            return Some(self.stored_chunk(&origin));
        }
        let mut out = Vec::with_capacity(len);
        out.extend(header_bytes(T::TYPE.size(), self.chunk_bytes, self.block_bytes, len, false, shuffled));
        let mut at = table_end;
        for block in &blocks {
            out.extend((at as u32).to_le_bytes());
            at += 4 + block.as_ref().map_or(0, Vec::len);
        }
        for block in blocks {
            let block = block.unwrap_or_default();
            out.extend((block.len() as u32).to_le_bytes());
            out.extend(block);
        }
        Some(out)
    }

    /// A chunk that compression would not make smaller.
    fn stored_chunk(&self, origin: &[usize]) -> Vec<u8> {
        let len = HEADER + self.chunk_bytes;
        let mut out = Vec::with_capacity(len);
        out.extend(header_bytes(T::TYPE.size(), self.chunk_bytes, self.block_bytes, len, true, false));
        let mut packer = Packer::default();
        for block in 0..self.blocks.iter().product() {
            self.gather(&mut packer, origin, block);
            out.extend(&packer.block);
        }
        out
    }

    /// The compressed bytes of block number `block` (as long as the block: not compressed); `None` for zeros.
    fn block(&self, packer: &mut Packer, origin: &[usize], block: usize, shuffled: bool) -> Option<Vec<u8>> {
        self.gather(packer, origin, block);
        if packer.block.iter().all(|&b| b == 0) {
            return None;
        }
        if shuffled {
            packer.shuffled.resize(packer.block.len(), 0);
            shuffle(T::TYPE.size(), &packer.block, &mut packer.shuffled);
            std::mem::swap(&mut packer.block, &mut packer.shuffled);
        }
        packer.packed.resize(get_maximum_output_size(packer.block.len()), 0);
        let table = packer.table.get_or_insert_with(CompressTable::large);
        match compress_into_with_table(&packer.block, &mut packer.packed, table) {
            Ok(len) if len < packer.block.len() => Some(packer.packed[..len].to_vec()),
            _ => Some(packer.block.clone()),
        }
    }

    /// Collects the bytes of a block; what lies beyond the chunk or the array is zero.
    fn gather(&self, packer: &mut Packer, origin: &[usize], block: usize) {
        let Layout { chunk, block: block_shape } = self.layout;
        let within = index_of(block, &self.blocks, block_shape);
        let from: Vec<usize> = origin.iter().zip(&within).map(|(o, w)| o + w).collect();
        // The part of the chunk that is inside the array.
        let full = self.shape.iter().zip(origin).zip(chunk);
        let inside: Vec<usize> = full.map(|((n, o), c)| (*c).min(n - o)).collect();
        let (begin, mut end) = overlap((&from, block_shape), (origin, &inside));
        packer.block.clear();
        let last = self.shape.len() - 1;
        let row = end[last].saturating_sub(begin[last]);
        end[last] = end[last].min(begin[last] + 1);
        let copied: std::result::Result<(), std::convert::Infallible> =
            for_each_index(&begin, &end, |index| {
                let relative: Vec<usize> = index.iter().zip(&from).map(|(i, f)| i - f).collect();
                let to = linear(&relative, block_shape) * T::TYPE.size();
                packer.block.resize(to, 0);
                let at = linear(index, self.shape);
                T::encode(&self.data[at..at + row], &mut packer.block);
                Ok(())
            });
        copied.unwrap_or_default();
        packer.block.resize(self.block_bytes, 0);
    }
}

/// Memory that is used again from block to block.
#[derive(Default)]
struct Packer {
    block: Vec<u8>,
    shuffled: Vec<u8>,
    packed: Vec<u8>,
    table: Option<CompressTable>,
}

/// Origin of piece number `piece` of a grid of pieces of `shape`.
fn index_of(piece: usize, grid: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut rest = piece;
    let mut origin = vec![0; grid.len()];
    for axis in (0..grid.len()).rev() {
        origin[axis] = rest % grid[axis] * shape[axis];
        rest /= grid[axis];
    }
    origin
}
