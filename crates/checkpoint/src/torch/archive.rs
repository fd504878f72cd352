//! The zip form of `torch.save` (and, through `legacy` and `tar`, the forms before it): the pickle and its storages.
//!
//! Members: `NAME/data.pkl`, `NAME/data/KEY` for each storage, `NAME/byteorder`. Sizes are checked against the file
//! before memory is asked for.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use zip::ZipArchive;

use super::decode::read_f32s;
use super::{legacy, tar};
use crate::error::CheckpointError;
use nnunet_graph::optimiser::StateTensor;
use nnunet_pyformats::pickle::{Dict, Dtype, NdArray, StorageRef, TensorRef, Value, unpickle};

/// Longest pickle: those of nnU-Net have a few megabytes.
const MAX_PICKLE: u64 = 128 << 20;

/// Storages may unpack to so many times the size of the file, and 64 MiB. `torch.save` does not pack them,
/// and weights that were packed by hand hardly shrink.
const MAX_UNPACKED: u64 = 8;

/// Deflate does not compress further than 1032 to 1.
const MAX_RATIO: u64 = 1100;

/// An open file of `torch.save`.
pub(crate) struct Archive {
    path: PathBuf,
    form: Form,
    big_endian: bool,
    /// Size of the file.
    len: u64,
    /// Bytes of storages that may still be read.
    budget: u64,
}

enum Form {
    Zip {
        zip: ZipArchive<BufReader<File>>,
        prefix: String,
    },
    /// The older forms.
    Spans {
        file: BufReader<File>,
        storages: IndexMap<String, legacy::Span>,
    },
}

impl Archive {
    /// Opens the file and reads its pickle.
    pub(crate) fn open(path: &Path) -> Result<(Self, Value), CheckpointError> {
        let read = |e| CheckpointError::read(path, e);
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(read)?);
        let len = file.get_ref().metadata().map_err(read)?.len();
        let budget = len.saturating_mul(MAX_UNPACKED).saturating_add(64 << 20);
        let mut start = Vec::new();
        file.by_ref().take(tar::BLOCK).read_to_end(&mut start).map_err(read)?;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        if start.starts_with(b"PK\x03\x04") {
            return Self::open_zip(path, file, len, budget);
        }
        let (value, storages, big_endian) = if start.first() == Some(&0x80) {
            legacy::read(path, &mut file)?
        } else if tar::is_header(&start) {
            tar::read(path, &mut file)?
        } else {
            return Err(CheckpointError::NotThisFormat {
                path: path.to_owned(),
                found: format!("the file begins with {:02x?}", &start[..start.len().min(4)]),
                expected: "a checkpoint of PyTorch",
            });
        };
        let form = Form::Spans { file, storages };
        Ok((Self { path: path.to_owned(), form, big_endian, len, budget }, value))
    }

    fn open_zip(
        path: &Path,
        file: BufReader<File>,
        len: u64,
        budget: u64,
    ) -> Result<(Self, Value), CheckpointError> {
        let bad = |e: zip::result::ZipError| match e {
            zip::result::ZipError::Io(e) => CheckpointError::read(path, e),
            e => CheckpointError::damaged(path, "the zip archive", e.to_string(), "a complete archive"),
        };
        let zip = ZipArchive::new(file).map_err(bad)?;
        let data = zip
            .file_names()
            .filter_map(Result::ok)
            .find(|n| n.ends_with("/data.pkl"))
            .map(|n| n.into_owned());
        let Some(data) = data else {
            return Err(CheckpointError::NotThisFormat {
                path: path.to_owned(),
                found: "a zip archive without data.pkl".to_owned(),
                expected: "a checkpoint of PyTorch",
            });
        };
        let prefix = data.trim_end_matches("data.pkl").to_owned();
        let form = Form::Zip { zip, prefix };
        let mut archive = Self { path: path.to_owned(), form, big_endian: false, len, budget };
        if let Ok(order) = archive.member("byteorder", 64) {
            archive.big_endian = order.starts_with(b"big");
        }
        let pickle = archive.member("data.pkl", MAX_PICKLE)?;
        let value = unpickle(&pickle).map_err(|e| CheckpointError::pickle(path, e))?;
        Ok((archive, value))
    }

    /// A member of at most `limit` bytes.
    fn member(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, CheckpointError> {
        let path = self.path.clone();
        let (mut source, len) = self.source(name)?;
        if len > limit {
            return Err(CheckpointError::damaged(
                &path,
                name,
                format!("{len} bytes"),
                format!("at most {limit}"),
            ));
        }
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(|e| CheckpointError::read(&path, e))?;
        Ok(bytes)
    }

    /// A member of the zip archive, or a storage of the older forms, with its length in bytes.
    fn source(&mut self, name: &str) -> Result<(Box<dyn Read + '_>, u64), CheckpointError> {
        let path = &self.path;
        match &mut self.form {
            Form::Zip { zip, prefix } => {
                let full = format!("{prefix}{name}");
                let member = zip.by_name(&full).map_err(|e| {
                    CheckpointError::damaged(
                        path,
                        format!("member {name}"),
                        e.to_string(),
                        "a readable member",
                    )
                })?;
                let (len, packed) = (member.size(), member.compressed_size());
                if len > packed.saturating_mul(MAX_RATIO) {
                    let found = format!("{len} bytes from {packed}");
                    return Err(CheckpointError::damaged(
                        path,
                        format!("member {name}"),
                        found,
                        "an honest size",
                    ));
                }
                Ok((Box::new(member.take(len)), len))
            }
            Form::Spans { file, storages } => {
                let span = storages.get(name.trim_start_matches("data/")).ok_or_else(|| {
                    CheckpointError::damaged(
                        path,
                        format!("storage {name}"),
                        "no data",
                        "data behind the pickle",
                    )
                })?;
                file.seek(SeekFrom::Start(span.offset)).map_err(|e| CheckpointError::read(path, e))?;
                Ok((Box::new(file.take(span.len)), span.len))
            }
        }
    }

    /// Loads tensors as f32. Returns for each reference the number of its tensor, and the tensors; references to the
    /// same numbers in the same shape have the same tensor.
    pub(crate) fn load(
        &mut self,
        refs: &[TensorRef],
    ) -> Result<(Vec<usize>, Vec<StateTensor>), CheckpointError> {
        let mut numbers = Vec::with_capacity(refs.len());
        let mut distinct: IndexMap<View<'_>, ()> = IndexMap::new();
        let mut by_storage: IndexMap<(&str, Dtype), Vec<(usize, &TensorRef)>> = IndexMap::new();
        for tensor in refs {
            let (number, seen) = distinct.insert_full(View::of(tensor), ());
            numbers.push(number);
            if seen.is_none() {
                by_storage.entry((&tensor.storage.key, tensor.dtype)).or_default().push((number, tensor));
            }
        }
        let empty = StateTensor { shape: Vec::new(), data: Vec::new() };
        let mut tensors = vec![empty; distinct.len()];
        for ((_, dtype), mut users) in by_storage {
            let storage = &users[0].1.storage;
            self.check_views(storage, dtype, &users)?;
            let data = self.read_storage(storage, dtype)?;
            let whole =
                users.iter().position(|(_, t)| t.is_contiguous() && t.element_count() == Some(data.len()));
            let whole = whole.map(|at| users.swap_remove(at));
            for (number, tensor) in users {
                tensors[number] = StateTensor { shape: tensor.shape.clone(), data: gather(tensor, &data) };
            }
            if let Some((number, tensor)) = whole {
                tensors[number] = StateTensor { shape: tensor.shape.clone(), data };
            }
        }
        Ok((numbers, tensors))
    }

    /// Tensors may share a storage, but not unfold it to many times its size.
    fn check_views(
        &self,
        storage: &StorageRef,
        dtype: Dtype,
        users: &[(usize, &TensorRef)],
    ) -> Result<(), CheckpointError> {
        let elements = elements(storage, dtype);
        let shown = users.iter().try_fold(0usize, |sum, (_, t)| sum.checked_add(t.element_count()?));
        let limit = elements.saturating_mul(4).saturating_add(1024);
        let same =
            users.iter().all(|(_, t)| t.storage.numel == storage.numel && t.storage.dtype == storage.dtype);
        if !same || shown.is_none_or(|shown| shown > limit) {
            let found = format!("{shown:?} elements in views of {elements}");
            return Err(self.damaged(format!("storage {}", storage.key), found, "views of its own size"));
        }
        Ok(())
    }

    fn read_storage(&mut self, storage: &StorageRef, dtype: Dtype) -> Result<Vec<f32>, CheckpointError> {
        let (path, big_endian) = (self.path.clone(), self.big_endian);
        let count = elements(storage, dtype);
        let bytes = (count as u64).saturating_mul(dtype.size() as u64);
        let (budget, file_len) = (self.budget, self.len);
        let (mut source, len) = self.source(&format!("data/{}", storage.key))?;
        if (count as u64).checked_mul(dtype.size() as u64) != Some(len) {
            let found = format!("{len} bytes");
            let expected = format!("{count} numbers of type {}", dtype.torch_name());
            return Err(CheckpointError::damaged(&path, format!("storage {}", storage.key), found, expected));
        }
        let Some(left) = budget.checked_sub(bytes) else {
            let found = format!("{len} bytes from a file of {file_len}");
            let expected = format!("storages of at most {MAX_UNPACKED} times its size");
            return Err(CheckpointError::damaged(&path, format!("storage {}", storage.key), found, expected));
        };
        let data =
            read_f32s(&mut source, dtype, count, big_endian).map_err(|e| CheckpointError::read(&path, e))?;
        // Only at its end does a zip member tell whether its checksum is right.
        let mut end = [0];
        source.read(&mut end).map_err(|e| CheckpointError::read(&path, e))?;
        drop(source);
        self.budget = left;
        Ok(data)
    }

    /// Replaces tensors within other values by arrays (f32), so that the value stands on its own.
    pub(crate) fn resolve(&mut self, value: Value) -> Result<Value, CheckpointError> {
        Ok(match value {
            Value::Tensor(tensor) => {
                let (_, mut tensors) = self.load(&[*tensor])?;
                let Some(tensor) = tensors.pop() else { return Ok(Value::None) };
                let bytes: Vec<u8> = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                NdArray::new(Dtype::F32, tensor.shape, bytes).map_or(Value::None, Value::NdArray)
            }
            Value::List(items) => Value::List(self.resolve_all(items)?),
            Value::Tuple(items) => Value::Tuple(self.resolve_all(items)?),
            Value::Dict(dict) => {
                let entries = dict.into_iter().map(|(k, v)| Ok((k, self.resolve(v)?)));
                Value::Dict(entries.collect::<Result<Dict, CheckpointError>>()?)
            }
            other => other,
        })
    }

    fn resolve_all(&mut self, items: Vec<Value>) -> Result<Vec<Value>, CheckpointError> {
        items.into_iter().map(|item| self.resolve(item)).collect()
    }

    pub(crate) fn damaged(&self, part: String, found: String, expected: &str) -> CheckpointError {
        CheckpointError::damaged(&self.path, part, found, expected)
    }
}

/// What makes two references the same tensor.
#[derive(PartialEq, Eq, Hash)]
struct View<'a> {
    key: &'a str,
    dtype: Dtype,
    offset: usize,
    shape: &'a [usize],
    stride: &'a [usize],
}

impl<'a> View<'a> {
    fn of(tensor: &'a TensorRef) -> Self {
        let TensorRef { storage, dtype, offset, shape, stride, .. } = tensor;
        Self { key: &storage.key, dtype: *dtype, offset: *offset, shape, stride }
    }
}

/// Elements of a storage seen as `dtype`.
fn elements(storage: &StorageRef, dtype: Dtype) -> usize {
    match storage.dtype {
        Some(_) => storage.numel,
        None => storage.numel / dtype.size(),
    }
}

/// The elements of a view in C order. The pickle reader has checked that it lies within the storage.
fn gather(tensor: &TensorRef, data: &[f32]) -> Vec<f32> {
    let count = tensor.element_count().unwrap_or(0);
    if tensor.is_contiguous() {
        return data.get(tensor.offset..tensor.offset + count).unwrap_or_default().to_vec();
    }
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0usize; tensor.shape.len()];
    let mut at = tensor.offset;
    while out.len() < count {
        out.push(data.get(at).copied().unwrap_or_default());
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += tensor.stride[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            at -= tensor.stride[axis] * tensor.shape[axis];
            index[axis] = 0;
        }
    }
    out
}
