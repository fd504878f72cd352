//! Blosc2 `.b2nd` files: dense arrays of any rank, cut into chunks and blocks that are compressed one by one.
//!
//! A file is a *contiguous frame*: header, chunks, an index of the chunks, trailer. The header's metalayer
//! `b2nd` holds shape, chunk shape, block shape (all in the array's axis order, C order) and number type.
//! A chunk covers a box of the array, rounded up to whole blocks; blocks at the border are padded. Each block
//! is compressed on its own, so that a patch is read by decompressing only the blocks it touches.
//!
//! Source: the public format descriptions of C-Blosc2 (`README_CFRAME_FORMAT.rst`, `README_CHUNK_FORMAT.rst`,
//! `README_B2ND_METALAYER.rst`). Read: LZ4, Zstandard, zlib, BloscLZ and uncompressed blocks, the shuffle,
//! bitshuffle, delta and truncation filters, chunks of zeros, NaN or one value. Written: LZ4 with or without
//! shuffle. Values come back bit for bit.

mod checks;
mod chunk;
mod codec;
mod element;
mod filter;
mod frame;
mod layout;
mod positioned;
mod reader;
mod region;
#[cfg(test)]
mod tests;
mod writer;

pub use element::{Element, ElementType};
pub use layout::{Layout, patch_layout};
pub use reader::B2ndReader;
pub use writer::write_b2nd;
