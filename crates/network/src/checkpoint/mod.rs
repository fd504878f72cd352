//! Files of trained networks: PyTorch checkpoints and Python pickles, read as data and written so that
//! Python reads them back.

mod error;
mod file;
pub mod pickle;

pub use error::CheckpointError;
pub use file::{read_pickle_file, write_pickle_file};
