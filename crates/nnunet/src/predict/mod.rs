//! Sliding-window inference and the way back to the original grid.

pub mod gaussian;
pub mod mirror;
pub mod sliding_window;
pub mod tiles;
