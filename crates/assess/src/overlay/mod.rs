//! One picture a case: the slice with the most foreground, its labels in colours over the image.
//!
//! Source: the reference's overlay plots; slices, colours and pixels are equal to theirs. Spacing is disregarded.

mod dataset;
mod error;
mod picture;
mod slice;

pub use dataset::{OverlayRequest, preprocessed_overlays, raw_overlays};
pub use error::OverlayError;
