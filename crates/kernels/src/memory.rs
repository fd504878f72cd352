//! Memory that kernels work in: aligned buffers, and slices that the tasks of a job share.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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
struct Line(#[allow(dead_code)] [u8; CACHE_LINE]);

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
