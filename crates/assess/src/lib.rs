//! What is done with segmentations: evaluation against references, comparison of volumes, postprocessing, overlays.
#![forbid(unsafe_code)]

pub mod evaluate;
pub mod overlay;
pub mod postprocess;
pub mod statistics;
pub mod volumetry;
