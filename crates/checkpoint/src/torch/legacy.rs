//! The form of `torch.save` before PyTorch 1.6: pickles one behind the other, then the storages.
//!
//! In this order: magic number, protocol version, system description, the saved value, the list of storage keys;
//! then for each key the number of elements (int64) and the elements.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use indexmap::IndexMap;

use crate::error::CheckpointError;
use nnunet_pyformats::pickle::{Dict, Limits, PickleError, Value, unpickle_prefix};

/// Magic number in the first pickle, least significant byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Longest part before the storages that is looked at.
pub(super) const MAX_PICKLES: u64 = 64 << 20;

/// Where the elements of a storage lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Span {
    /// Goes `bytes` forward, at most to the end.
    pub(super) fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.len);
        self.offset += bytes;
        self.len -= bytes;
    }
}

/// The saved value, where its storages lie, and whether their numbers are big endian.
pub(super) type Contents = (Value, IndexMap<String, Span>, bool);

/// Reads the pickles and finds the storages.
pub(super) fn read(path: &Path, file: &mut BufReader<File>) -> Result<Contents, CheckpointError> {
    let failed = |e| CheckpointError::read(path, e);
    let file_len = file.get_ref().metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_PICKLES).read_to_end(&mut bytes).map_err(failed)?;
    let mut at = 0;
    let mut next = || -> Result<Value, PickleError> {
        let (value, len) = unpickle_prefix(&bytes[at..], &Limits::default())?;
        at += len;
        Ok(value)
    };
    let bad = |e| CheckpointError::pickle(path, e);
    if next().map_err(bad)? != Value::BigInt(MAGIC.to_vec()) {
        return Err(CheckpointError::NotThisFormat {
            path: path.to_owned(),
            found: "a pickle without PyTorch's mark".to_owned(),
            expected: "a checkpoint of PyTorch",
        });
    }
    let version = next().map_err(bad)?;
    if version != Value::Int(1001) {
        let found = format!("version {version:?}");
        return Err(CheckpointError::damaged(path, "the older PyTorch format", found, "version 1001"));
    }
    let system = next().map_err(bad)?;
    let big_endian = system.get("little_endian").and_then(Value::as_bool) == Some(false);
    let value = next().map_err(bad)?;
    let keys = next().map_err(bad)?;
    let mut sizes = IndexMap::new();
    element_sizes(&value, &mut sizes);
    let mut storages = IndexMap::new();
    let mut offset = at as u64;
    for key in keys.as_sequence().unwrap_or_default() {
        let name = key.as_str().unwrap_or_default();
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        file.read_exact(&mut count).map_err(failed)?;
        // Without it nobody knows where the next storage begins.
        let Some(&size) = sizes.get(name) else {
            let found = "numbers of another type";
            return Err(CheckpointError::damaged(
                path,
                format!("storage {name}"),
                found,
                "a type that is known",
            ));
        };
        let len = u64::from_le_bytes(count).checked_mul(size);
        let end = len.and_then(|len| len.checked_add(offset + 8)).filter(|&end| end <= file_len);
        let (Some(len), Some(end)) = (len, end) else {
            let found = format!("elements beyond the end of the file ({file_len} bytes)");
            return Err(CheckpointError::damaged(
                path,
                format!("storage {name}"),
                found,
                "elements within the file",
            ));
        };
        storages.insert(name.to_owned(), Span { offset: offset + 8, len });
        offset = end;
    }
    Ok((value, storages, big_endian))
}

/// Bytes per element of each storage that the value refers to.
fn element_sizes(value: &Value, sizes: &mut IndexMap<String, u64>) {
    let mut note = |storage: &nnunet_pyformats::pickle::StorageRef| {
        let size = storage.dtype.map_or(1, |d| d.size() as u64);
        sizes.insert(storage.key.clone(), size);
    };
    match value {
        Value::Tensor(tensor) => note(&tensor.storage),
        Value::Storage(storage) => note(storage),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().for_each(|v| element_sizes(v, sizes));
        }
        Value::Dict(dict) => element_sizes_of(dict, sizes),
        Value::Object(object) => {
            object
                .args
                .iter()
                .chain(&object.items)
                .chain(&object.state)
                .for_each(|v| element_sizes(v, sizes));
            element_sizes_of(&object.entries, sizes);
            element_sizes_of(&object.kwargs, sizes);
        }
        _ => {}
    }
}

fn element_sizes_of(dict: &Dict, sizes: &mut IndexMap<String, u64>) {
    dict.iter().for_each(|(k, v)| {
        element_sizes(k, sizes);
        element_sizes(v, sizes);
    });
}
