//! What is done with segmentations: evaluation against references, postprocessing, overlays.
#![forbid(unsafe_code)]

pub mod evaluate;
pub mod overlay;
pub mod postprocess;
