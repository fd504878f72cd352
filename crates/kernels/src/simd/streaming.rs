//! Stores past the caches, for results that nobody reads soon.
//!
//! A line that is written as a whole need not be read before, and takes no room from what is still in use. Beside that, two threads
//! that write neighbouring runs of a few lines slow each other down through the caches, whose prefetchers read ahead into the
//! other thread's run: measured, weight gradients of 11 MB took as long with two threads as with one.

#![allow(unsafe_code)]

/// Writes past the caches until it is dropped; other threads see the values after that, once the usual synchronisation has
/// told them to look.
pub(crate) struct Streaming(());

impl Streaming {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// As [`<[f32]>::copy_from_slice`].
    pub(crate) fn copy(&self, target: &mut [f32], values: &[f32]) {
        /// Values of a cache line.
        const LINE: usize = 16;
        assert_eq!(target.len(), values.len(), "lengths of target and values");
        let head = target.as_ptr().align_offset(LINE * size_of::<f32>()).min(target.len());
        let lines = (target.len() - head) / LINE * LINE;
        let ((first, rest), (first_values, rest_values)) = (target.split_at_mut(head), values.split_at(head));
        let ((lines, last), (line_values, last_values)) =
            (rest.split_at_mut(lines), rest_values.split_at(lines));
        first.copy_from_slice(first_values);
        copy_lines(lines, line_values);
        last.copy_from_slice(last_values);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // SAFETY: every x86-64 has the instruction. It orders the stores before later ones, as a release of other stores does not.
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

/// Copies whole lines, of which `target` begins one.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn copy_lines(target: &mut [f32], values: &[f32]) {
    use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
    for (target, values) in target.chunks_exact_mut(4).zip(values.chunks_exact(4)) {
        // SAFETY: both have four values, and every fourth value of a line is aligned to 16 bytes. The fence comes with the drop of
        // the caller.
        unsafe { _mm_stream_ps(target.as_mut_ptr(), _mm_loadu_ps(values.as_ptr())) };
    }
}

/// Copies through the caches, where there is no other way.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn copy_lines(target: &mut [f32], values: &[f32]) {
    target.copy_from_slice(values);
}

#[cfg(test)]
mod tests {
    use super::Streaming;

    #[test]
    fn every_start_and_length_is_copied_and_nothing_beside_it() {
        let values: Vec<f32> = (0..100).map(|value| value as f32).collect();
        for start in 0..20 {
            for len in 0..=60 {
                let mut target = vec![-1.0; 100];
                Streaming::new().copy(&mut target[start..start + len], &values[..len]);
                let expected: Vec<f32> = (0..100)
                    .map(|at| if (start..start + len).contains(&at) { (at - start) as f32 } else { -1.0 })
                    .collect();
                assert_eq!(target, expected, "{start} {len}");
            }
        }
    }
}
