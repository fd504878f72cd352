//! Shapes of masks: connected components, holes, bounding boxes.
//!
//! Everything works on runs (stretches of set voxels within one line along x), of which a mask has far fewer than
//! voxels.

mod binary;
mod components;
mod runs;

pub use binary::{bounding_box, fill_holes, nonzero_mask};
pub use components::{Component, Components, connected_components};
pub use runs::Connectivity;
