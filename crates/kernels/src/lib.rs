//! SIMD kernels on plain slices, with their scalar versions as the definition of what is right.
#![warn(unsafe_code)]
