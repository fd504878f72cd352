//! Sliding-window inference and the way back to the original grid.
