//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod itk_formats;
mod nibabel;
mod nifti;
mod odd_headers;
mod pictures;
