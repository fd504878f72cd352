//! Shapes of masks: connected components, holes, bounding boxes, distances.
//!
//! All but the distances work on runs (stretches of set voxels within one line along x), of which a mask has far fewer than
//! voxels.

mod binary;
mod components;
mod distance;
mod nearest;
mod runs;

pub use binary::{bounding_box, fill_holes, nonzero_mask};
pub use components::{Component, Components, connected_components};
pub use distance::squared_distances;
pub use nearest::squared_distances_from;
pub use runs::Connectivity;
