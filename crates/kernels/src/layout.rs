//! The blocked layout `[n][c/16][z][y][x][16]`, conversions from and to plain (n, c, z, y, x), and aligned memory.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::error::check_length;
use crate::values::{Element, ValuesMut};
use crate::{Context, KernelError};

/// Channels in a block: one AVX-512 vector of `f32`, one cache line.
pub const LANES: usize = 16;

/// Number of blocks that hold `channels` channels.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// `channels` rounded up to whole blocks.
pub fn padded(channels: usize) -> usize {
    blocks(channels) * LANES
}

/// Shape of an activation: samples, channels (without padding), (z, y, x).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockedShape {
    /// Samples.
    pub batch: usize,
    /// Channels, padding not counted.
    pub channels: usize,
    /// (z, y, x); z is 1 in 2-D.
    pub spatial: [usize; 3],
}

impl BlockedShape {
    /// Blocks per sample.
    pub fn blocks(&self) -> usize {
        blocks(self.channels)
    }

    /// Channels including padding.
    pub fn padded_channels(&self) -> usize {
        padded(self.channels)
    }

    /// Voxels of one channel of one sample.
    pub fn voxels(&self) -> usize {
        self.spatial.iter().product()
    }

    /// Values in the blocked layout.
    pub fn len(&self) -> usize {
        self.batch * self.padded_channels() * self.voxels()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values in the plain layout (n, c, z, y, x).
    pub fn plain_len(&self) -> usize {
        self.batch * self.channels * self.voxels()
    }

    /// Entries of a per-(sample, channel) vector.
    pub fn vector_len(&self) -> usize {
        self.batch * self.padded_channels()
    }

    /// Index of a value in the blocked layout; `voxel` is `(z * y_size + y) * x_size + x`.
    pub fn index(&self, sample: usize, channel: usize, voxel: usize) -> usize {
        ((sample * self.blocks() + channel / LANES) * self.voxels() + voxel) * LANES + channel % LANES
    }
}

/// Converts plain (n, c, z, y, x) to blocked; padding lanes become zero.
///
/// # Errors
/// If a slice does not have the length of `shape`.
pub fn to_blocked<'a>(
    ctx: &Context,
    shape: &BlockedShape,
    plain: &[f32],
    blocked: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let parts = blocked.into().shared();
    check_length("plain tensor", plain.len(), shape.plain_len())?;
    check_length("blocked tensor", parts.len(), shape.len())?;
    let (voxels, blocks) = (shape.voxels(), shape.blocks());
    ctx.pool().par_for(shape.batch * blocks, |_, task| {
        let (sample, block) = (task / blocks, task % blocks);
        let count = (shape.channels - block * LANES).min(LANES);
        let first = (sample * shape.channels + block * LANES) * voxels;
        let plain = &plain[first..first + count * voxels];
        // SAFETY: each task writes its own block.
        match unsafe { parts.part(task * voxels * LANES, voxels * LANES) } {
            ValuesMut::F32(block) => fill_block(plain, voxels, block),
            ValuesMut::Bf16(block) => fill_block(plain, voxels, block),
        }
    });
    Ok(())
}

/// Writes the channels of one block; padding lanes become zero.
fn fill_block<E: Element>(plain: &[f32], voxels: usize, block: &mut [E]) {
    for (voxel, lanes) in block.chunks_exact_mut(LANES).enumerate() {
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value = E::from_f32(plain.get(lane * voxels + voxel).copied().unwrap_or(0.0));
        }
    }
}

/// Converts blocked to plain (n, c, z, y, x); padding lanes are dropped.
///
/// # Errors
/// If a slice does not have the length of `shape`.
pub fn to_plain(
    ctx: &Context,
    shape: &BlockedShape,
    blocked: &[f32],
    plain: &mut [f32],
) -> Result<(), KernelError> {
    check_length("blocked tensor", blocked.len(), shape.len())?;
    check_length("plain tensor", plain.len(), shape.plain_len())?;
    // So many voxels of a block stay in the cache while its channels are taken out one by one.
    const SPAN: usize = 2048;
    let (voxels, channels, blocks) = (shape.voxels(), shape.channels, shape.blocks());
    let spans = voxels.div_ceil(SPAN);
    let parts = SharedMut::new(plain);
    ctx.pool().par_for(shape.batch * blocks * spans, |_, task| {
        let (sample, block) = (task / spans / blocks, task / spans % blocks);
        let start = task % spans * SPAN;
        let len = SPAN.min(voxels - start);
        let first = shape.index(sample, block * LANES, start);
        let source = &blocked[first..first + len * LANES];
        for lane in 0..(channels - block * LANES).min(LANES) {
            let channel = sample * channels + block * LANES + lane;
            // SAFETY: each task writes its own voxels of its own channels.
            let out = unsafe { parts.part(channel * voxels + start, len) };
            for (value, lanes) in out.iter_mut().zip(source.chunks_exact(LANES)) {
                *value = lanes[lane];
            }
        }
    });
    Ok(())
}

/// Makes zeros of NaN in the lanes from `used` on of `count` vectors of 16 that lie `step` values apart: the padding channels of what a
/// kernel wrote. Their weights are zero, but an infinity times zero is NaN.
///
/// # Safety
/// The vectors are valid and nobody else uses them.
pub(crate) unsafe fn clear_padding(first: *mut f32, count: usize, step: usize, used: usize) {
    assert!(used <= LANES);
    for at in 0..count {
        // SAFETY: the vector is valid by the contract of this function, and its lanes from `used` on lie in it.
        let lanes = unsafe { std::slice::from_raw_parts_mut(first.add(at * step + used), LANES - used) };
        lanes.iter_mut().for_each(|lane| *lane = if lane.is_nan() { 0.0 } else { *lane });
    }
}

/// A mutable slice that the tasks of one job share, each writing parts of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    first: NonNull<T>,
    len: usize,
    marker: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `part`, whose contract forbids overlap between threads.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Borrows `slice` for the duration of a job.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { len: slice.len(), first: NonNull::from(slice).cast(), marker: std::marker::PhantomData }
    }

    /// The values `start..start + len`.
    ///
    /// # Safety
    /// No other part that overlaps this one may be alive, on any thread.
    ///
    /// # Panics
    /// If the part does not lie in the slice.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "part outside of the shared slice"
        );
        // SAFETY: the range lies in the borrowed slice; exclusive by the contract of this function.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr().add(start), len) }
    }

    /// Pointer to the first value, for kernels that check their ranges themselves.
    pub(crate) fn as_mut_ptr(&self) -> *mut T {
        self.first.as_ptr()
    }

    /// Values of the whole slice.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Zeroed `f32` memory aligned to a cache line, and to huge pages when it is large.
pub struct AlignedBuffer {
    pointer: NonNull<f32>,
    len: usize,
}

// SAFETY: the buffer owns its memory like a `Box<[f32]>`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for AlignedBuffer {}

const HUGE_PAGE: usize = 2 << 20;
const CACHE_LINE: usize = 64;

impl AlignedBuffer {
    /// A zeroed buffer of `len` values.
    ///
    /// # Panics
    /// If `len` is beyond what an allocation can hold (`isize::MAX` bytes).
    pub fn new(len: usize) -> Self {
        let refused = || Self::layout(len).unwrap_or(Layout::new::<f32>());
        Self::try_new(len).unwrap_or_else(|| handle_alloc_error(refused()))
    }

    /// A zeroed buffer of `len` values; `None` if the system has no memory for it.
    fn try_new(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self { pointer: NonNull::<Line>::dangling().cast(), len });
        }
        let layout = Self::layout(len)?;
        // SAFETY: the layout has a size above zero.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        advise_huge_pages(pointer, layout);
        Some(Self { pointer: pointer.cast(), len })
    }

    /// `None` beyond what an allocation can hold.
    fn layout(len: usize) -> Option<Layout> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { CACHE_LINE };
        Layout::from_size_align(bytes, align).ok()
    }

    /// The first `len` values, after growing the buffer if it is shorter. The content is undefined after growing.
    pub fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::new(0);
            *self = Self::new(len);
        }
        &mut self[..len]
    }

    /// Grows the buffer to `len` values if it is shorter; the content is undefined after that. False if the system has no memory
    /// for it; the buffer is empty then.
    pub fn try_grow(&mut self, len: usize) -> bool {
        if self.len >= len {
            return true;
        }
        *self = Self::new(0);
        Self::try_new(len).map(|grown| *self = grown).is_some()
    }
}

/// Gives the type whose dangling pointer has the alignment of a cache line.
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; LANES]);

#[cfg(all(target_os = "linux", not(miri)))]
fn advise_huge_pages(pointer: NonNull<u8>, layout: Layout) {
    const MADV_HUGEPAGE: std::ffi::c_int = 14;
    unsafe extern "C" {
        fn madvise(address: *mut std::ffi::c_void, length: usize, advice: std::ffi::c_int)
        -> std::ffi::c_int;
    }
    if layout.size() >= HUGE_PAGE {
        // SAFETY: the range was just allocated with this layout and is page aligned; the advice changes no content, and a refusal
        // leaves ordinary pages.
        let _ = unsafe { madvise(pointer.as_ptr().cast(), layout.size(), MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn advise_huge_pages(_: NonNull<u8>, _: Layout) {}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|_| self.len > 0) {
            // SAFETY: allocated in `try_new` with the same layout.
            unsafe { dealloc(self.pointer.as_ptr().cast(), layout) }
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: the pointer is valid for `len` initialised values that this buffer owns.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the buffer is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AlignedBuffer").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuLevel;

    #[test]
    fn blocked_and_back() {
        let ctx = Context::new(CpuLevel::detect(), 2);
        for channels in [1, 3, 16, 17, 40] {
            let shape = BlockedShape { batch: 2, channels, spatial: [2, 3, 5] };
            let plain: Vec<f32> = (0..shape.plain_len()).map(|i| i as f32 + 1.0).collect();
            let mut blocked = AlignedBuffer::new(shape.len());
            blocked.fill(f32::NAN);
            to_blocked(&ctx, &shape, &plain, &mut blocked).unwrap();
            assert_eq!(blocked[shape.index(1, channels - 1, 7)], plain[(channels + channels - 1) * 30 + 7]);
            assert_eq!(
                blocked.iter().filter(|value| **value == 0.0).count(),
                shape.len() - shape.plain_len()
            );
            let mut back = vec![0.0; plain.len()];
            to_plain(&ctx, &shape, &blocked, &mut back).unwrap();
            assert_eq!(back, plain);
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let ctx = Context::new(CpuLevel::Portable, 1);
        let shape = BlockedShape { batch: 1, channels: 3, spatial: [1, 2, 2] };
        let message = to_blocked(&ctx, &shape, &[0.0; 11], &mut [0.0; 64]).unwrap_err().to_string();
        assert_eq!(message, "plain tensor has 11 values, but the shape asks for 12");
    }

    #[test]
    fn buffers_are_aligned_zeroed_and_grow() {
        for len in [0, 1, 100, HUGE_PAGE / 4 + 1] {
            let buffer = AlignedBuffer::new(len);
            assert_eq!(buffer.as_ptr() as usize % CACHE_LINE, 0);
            assert!(buffer.iter().all(|value| *value == 0.0));
        }
        let mut buffer = AlignedBuffer::default();
        assert_eq!(buffer.at_least(10).len(), 10);
        assert_eq!(buffer.at_least(5).len(), 5);
        assert_eq!(buffer.len(), 10);
        assert!(buffer.try_grow(5) && buffer.len() == 10);
        assert!(buffer.try_grow(20) && buffer.len() == 20);
        for len in [usize::MAX, isize::MAX as usize / 4, 1 << 50] {
            assert!(!buffer.try_grow(len) && buffer.is_empty(), "{len}");
        }
        assert!(buffer.try_grow(3));
    }
}
