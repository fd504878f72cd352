//! Timing and test data, shared by the benches.

use std::time::Instant;

use nnunet_kernels::layout::AlignedBuffer;

/// CPU time of the calling thread in seconds: with one thread it measures the kernel and not the load of the machine.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> f64 {
    const CLOCK_THREAD_CPUTIME_ID: std::ffi::c_int = 3;
    unsafe extern "C" {
        fn clock_gettime(clock: std::ffi::c_int, time: *mut [i64; 2]) -> std::ffi::c_int;
    }
    let mut time = [0_i64; 2];
    // SAFETY: a `timespec` is two 64-bit integers on 64-bit Linux, and the call writes only that.
    #[allow(unsafe_code)]
    unsafe {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time);
    }
    time[0] as f64 + time[1] as f64 * 1e-9
}

/// Elsewhere only the wall clock is at hand.
#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Shortest time of repetitions that take `seconds` in all, at least three.
pub(crate) fn best(threads: usize, seconds: f64, mut run: impl FnMut()) -> f64 {
    let (all, mut best, mut count) = (Instant::now(), f64::INFINITY, 0);
    while count < 3 || all.elapsed().as_secs_f64() < seconds {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        run();
        let wall = start.elapsed().as_secs_f64();
        best = best.min(if threads == 1 { cpu_seconds() - cpu } else { wall });
        count += 1;
    }
    best
}

/// Values in -1..1.
pub(crate) fn values(len: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(len);
    for (at, value) in buffer.iter_mut().enumerate() {
        *value = ((at * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    }
    buffer
}
