//! Writing of the zip form of `torch.save`: `NAME/data.pkl`, `NAME/byteorder`, `NAME/data/N`, `NAME/version`.
//!
//! Members are stored without compression and begin at multiples of 64 bytes, so that torch can map them.

use std::io::{self, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::CheckpointError;
use crate::write_file;
use nnunet_base::files::StopAtError;
use nnunet_graph::optimiser::StateTensor;
use nnunet_pyformats::pickle::{Dtype, Protocol, StorageRef, TensorRef, Value, pickle};

/// torch's alignment of storages.
const ALIGNMENT: u16 = 64;

/// Members from this size on have 64-bit sizes.
const LARGE: usize = u32::MAX as usize / 2;

/// The tensors of a file to be written, each with a storage of its own.
#[derive(Default)]
pub(crate) struct TensorWriter<'a> {
    tensors: Vec<(&'a StateTensor, Dtype)>,
}

impl<'a> TensorWriter<'a> {
    /// Adds a tensor; the value stands for it in the pickle, as often as wanted.
    pub(crate) fn add(&mut self, tensor: &'a StateTensor) -> Value {
        self.add_as(tensor, Dtype::F32)
    }

    /// Adds a tensor of whole numbers, which torch stores as int64.
    pub(crate) fn add_counter(&mut self, tensor: &'a StateTensor) -> Value {
        self.add_as(tensor, Dtype::I64)
    }

    fn add_as(&mut self, tensor: &'a StateTensor, dtype: Dtype) -> Value {
        let key = self.tensors.len().to_string();
        self.tensors.push((tensor, dtype));
        let mut stride = vec![1usize; tensor.shape.len()];
        for axis in (1..tensor.shape.len()).rev() {
            stride[axis - 1] = stride[axis] * tensor.shape[axis].max(1);
        }
        let storage =
            StorageRef { dtype: Some(dtype), key, device: "cpu".to_owned(), numel: tensor.data.len() };
        let shape = tensor.shape.clone();
        Value::Tensor(Box::new(TensorRef { storage, dtype, offset: 0, shape, stride, requires_grad: false }))
    }

    /// Writes the file with `value` as its pickle.
    pub(crate) fn write(&self, path: &Path, value: &Value) -> Result<(), CheckpointError> {
        let data = pickle(value, Protocol::Two).map_err(|e| CheckpointError::pickle(path, e))?;
        // torch names the folder within the archive after the file.
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let name = name.filter(|n| !n.is_empty()).unwrap_or_else(|| "archive".to_owned());
        write_file(path, |file| {
            let mut zip = ZipWriter::new(StopAtError::new(file));
            member(&mut zip, &name, "data.pkl", data.len(), |out| out.write_all(&data))?;
            member(&mut zip, &name, "byteorder", 6, |out| out.write_all(b"little"))?;
            for (number, (tensor, dtype)) in self.tensors.iter().enumerate() {
                let len = tensor.data.len() * dtype.size();
                member(&mut zip, &name, &format!("data/{number}"), len, |out| match dtype {
                    Dtype::I64 => {
                        tensor.data.iter().try_for_each(|v| out.write_all(&(*v as i64).to_le_bytes()))
                    }
                    _ => write_f32s(out, &tensor.data),
                })?;
            }
            member(&mut zip, &name, "version", 2, |out| out.write_all(b"3\n"))?;
            zip.finish().map_err(io::Error::from).map(|_| ())
        })
    }
}

fn member<W: Write + Seek>(
    zip: &mut ZipWriter<W>,
    folder: &str,
    name: &str,
    len: usize,
    write: impl FnOnce(&mut ZipWriter<W>) -> io::Result<()>,
) -> io::Result<()> {
    let options = SimpleFileOptions::DEFAULT
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGNMENT)
        .large_file(len >= LARGE);
    zip.start_file(format!("{folder}/{name}"), options).map_err(io::Error::from)?;
    write(zip)
}

pub(crate) fn write_f32s(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(1 << 18);
    for part in values.chunks(1 << 16) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|v| v.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}
