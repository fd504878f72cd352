//! Files of `torch.save`: a pickle that refers to storages beside it.

mod archive;
mod decode;
mod legacy;
mod tar;
mod writer;

pub(super) use archive::Archive;
pub(super) use decode::read_f32s;
pub(super) use writer::{TensorWriter, write_f32s};
