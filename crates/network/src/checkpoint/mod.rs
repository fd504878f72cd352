//! Files of trained networks: PyTorch checkpoints, safetensors and Python pickles, read as data and written so
//! that Python reads them back.
//!
//! [`Checkpoint`] is what nnU-Net keeps in `checkpoint_*.pth`; [`StateDict`] the weights by PyTorch's names.

mod contents;
mod error;
mod file;
pub mod pickle;
mod safetensors;
mod state_dict;
mod torch;

pub use contents::{Checkpoint, SavedOptimiser};
pub use error::CheckpointError;
pub use file::{read_pickle_file, write_pickle_file};
pub use safetensors::{read_safetensors, write_safetensors};
pub use state_dict::StateDict;
