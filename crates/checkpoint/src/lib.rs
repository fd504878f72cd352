//! Files of trained networks: PyTorch checkpoints and safetensors, read as data and written so that Python reads
//! them back.
//!
//! [`Checkpoint`] is what nnU-Net keeps in `checkpoint_*.pth`; [`StateDict`] the weights by PyTorch's names.
#![forbid(unsafe_code)]

mod contents;
mod error;
mod safetensors;
mod state_dict;
mod torch;
mod transfer;

pub use contents::{Checkpoint, SavedOptimiser};
pub use error::CheckpointError;
pub use safetensors::{read_safetensors, write_safetensors};
pub use state_dict::StateDict;
pub use transfer::{Transfer, TransferRules};

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

/// Writes a file, whole or not at all.
fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    nnunet_base::files::write_atomically(path, fill).map_err(|source| CheckpointError::write(path, source))
}
