//! The form of `torch.save` before PyTorch 0.1.10: a tar archive of `storages`, `tensors` and `pickle`.
//!
//! ```text
//! storages  pickle: their number; each: pickle (key, device, class), int64 count, numbers; pickle: list of views
//! tensors   pickle: their number; each: pickle (key, storage, class), int32 axes, 4 bytes, int64 shape, strides, offset
//! pickle    the saved value, which refers to tensors by their keys
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use indexmap::IndexMap;

use super::legacy::{Contents, MAX_PICKLES, Span};
use crate::error::CheckpointError;
use nnunet_pyformats::pickle::{
    Dtype, Limits, PickleError, StorageRef, TensorRef, Value, unpickle_prefix, unpickle_with,
};

/// Headers and contents of members fill blocks of this size.
pub(super) const BLOCK: u64 = 512;
/// The pickle in front of a storage or tensor is far shorter.
const ENTRY: u64 = 1024;
/// Most storages and tensors: networks have hundreds.
const MAX_ENTRIES: usize = 200_000;
/// Most axes of a tensor.
const MAX_AXES: u32 = 8;

/// Whether `block` is the header of a member of a POSIX tar archive.
pub(super) fn is_header(block: &[u8]) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// Reads the value and finds the storages.
pub(super) fn read(path: &Path, file: &mut BufReader<File>) -> Result<Contents, CheckpointError> {
    let mut archive = Tar { path, file, members: HashMap::new() };
    archive.find_members().map_err(|e| CheckpointError::read(path, e))?;
    let (spans, storages) = archive.storages()?;
    let tensors = archive.tensors(&storages)?;
    let pickle = archive.member("pickle")?;
    let bytes = archive.bytes(pickle, MAX_PICKLES)?;
    let (value, _) =
        unpickle_with(&bytes, &Limits::default(), &tensors).map_err(|e| CheckpointError::pickle(path, e))?;
    Ok((value, spans, false))
}

/// Storages by key, and parts of them that have keys of their own.
type Views = HashMap<String, View>;

/// A storage, or the part of one from an element on.
#[derive(Clone)]
struct View {
    storage: StorageRef,
    first: usize,
}

struct Tar<'a> {
    path: &'a Path,
    file: &'a mut BufReader<File>,
    members: HashMap<String, Span>,
}

impl Tar<'_> {
    fn find_members(&mut self) -> io::Result<()> {
        let len = self.file.get_ref().metadata()?.len();
        let mut at = 0;
        // Three members, and what tar programs put between them.
        for _ in 0..64 {
            let mut header = [0; BLOCK as usize];
            self.file.seek(SeekFrom::Start(at))?;
            if at + BLOCK > len || self.file.read_exact(&mut header).is_err() || !is_header(&header) {
                break;
            }
            let text = |bytes: &[u8]| {
                let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
                String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
            };
            let Ok(size) = u64::from_str_radix(&text(&header[124..136]), 8) else { break };
            let span = Span { offset: at + BLOCK, len: size.min(len - at - BLOCK) };
            self.members.entry(text(&header[..100])).or_insert(span);
            at = span.offset + span.len.next_multiple_of(BLOCK);
        }
        Ok(())
    }

    fn member(&self, name: &str) -> Result<Span, CheckpointError> {
        let found = self.members.get(name).copied();
        found.ok_or_else(|| self.damaged("the tar archive", &format!("no member {name}"), "all members"))
    }

    /// At most `limit` bytes of `span`.
    fn bytes(&mut self, span: Span, limit: u64) -> Result<Vec<u8>, CheckpointError> {
        let failed = |e| CheckpointError::read(self.path, e);
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(span.offset)).map_err(failed)?;
        self.file.by_ref().take(span.len.min(limit)).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Takes a pickle of at most `limit` bytes from the front of `span`.
    fn pickle(&mut self, span: &mut Span, limit: u64) -> Result<Value, CheckpointError> {
        let bytes = self.bytes(*span, limit)?;
        let (value, len) = unpickle_prefix(&bytes, &Limits::default()).map_err(|e| self.bad(e))?;
        span.skip(len as u64);
        Ok(value)
    }

    /// Takes the number of entries from the front of `span`.
    fn count(&mut self, span: &mut Span, part: &str) -> Result<usize, CheckpointError> {
        let count = self.pickle(span, ENTRY)?;
        let found = || format!("a count of {count:?}");
        count
            .as_usize()
            .filter(|n| *n <= MAX_ENTRIES)
            .ok_or_else(|| self.damaged(part, &found(), "their number"))
    }

    /// Where the numbers of each storage lie, and the storages and views by key.
    fn storages(&mut self) -> Result<(IndexMap<String, Span>, Views), CheckpointError> {
        let mut rest = self.member("storages")?;
        let (mut spans, mut views) = (IndexMap::new(), HashMap::new());
        for _ in 0..self.count(&mut rest, "storages")? {
            let entry = self.pickle(&mut rest, ENTRY)?;
            let Some((key, device, dtype)) = storage_entry(&entry) else {
                return Err(self.damaged("storages", "another entry", "key, device and class of a storage"));
            };
            let count = self.bytes(rest, 8)?;
            rest.skip(8);
            let numel = <[u8; 8]>::try_from(count.as_slice()).ok().map(u64::from_le_bytes);
            let len = numel.and_then(|n| n.checked_mul(dtype.size() as u64)).filter(|len| *len <= rest.len);
            let (Some(numel), Some(len)) = (numel, len) else {
                let found = format!("elements beyond the {} bytes that are there", rest.len);
                return Err(self.damaged(&format!("storage {key}"), &found, "elements within the file"));
            };
            spans.insert(key.clone(), Span { offset: rest.offset, len });
            rest.skip(len);
            let storage = StorageRef { dtype: Some(dtype), key: key.clone(), device, numel: numel as usize };
            views.insert(key, View { storage, first: 0 });
        }
        let list = self.pickle(&mut rest, MAX_PICKLES)?;
        for view in list.as_sequence().unwrap_or_default() {
            let known = view_entry(view, &views);
            let (key, view) =
                known.ok_or_else(|| self.damaged("storages", "another view", "a part of a storage"))?;
            views.insert(key, view);
        }
        Ok((spans, views))
    }

    /// Tensors and storages by key, as the pickle refers to them.
    fn tensors(&mut self, storages: &Views) -> Result<HashMap<String, Value>, CheckpointError> {
        let mut rest = self.member("tensors")?;
        let whole = storages.iter().filter(|(_, view)| view.first == 0);
        let mut tensors: HashMap<String, Value> =
            whole.map(|(key, view)| (key.clone(), Value::Storage(Box::new(view.storage.clone())))).collect();
        for _ in 0..self.count(&mut rest, "tensors")? {
            let entry = self.pickle(&mut rest, ENTRY)?;
            let bytes = self.bytes(rest, ENTRY)?;
            let tensor = tensor_entry(&entry, &bytes, storages);
            let Some((key, tensor, len)) = tensor else {
                return Err(self.damaged("tensors", "another entry", "a tensor within its storage"));
            };
            rest.skip(len);
            tensors.insert(key, Value::Tensor(Box::new(tensor)));
        }
        Ok(tensors)
    }

    fn bad(&self, error: PickleError) -> CheckpointError {
        CheckpointError::pickle(self.path, error)
    }

    fn damaged(&self, part: &str, found: &str, expected: &str) -> CheckpointError {
        CheckpointError::damaged(self.path, part, found, expected)
    }
}

/// The key of an object: a number, or its text.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Str(text) if text.len() <= 32 => Some(text.clone()),
        _ => None,
    }
}

/// `(key, device, class)`
fn storage_entry(entry: &Value) -> Option<(String, String, Dtype)> {
    let [number, device, Value::Global(class)] = entry.as_sequence()? else { return None };
    let device = device.as_str().filter(|name| name.len() <= 32)?;
    Some((key(number)?, device.to_owned(), Dtype::from_torch_storage(&class.name)?))
}

/// `(key, storage, first element, number of elements)`
fn view_entry(entry: &Value, views: &Views) -> Option<(String, View)> {
    let [number, root, first, _] = entry.as_sequence()? else { return None };
    let root = views.get(&key(root)?)?;
    let first = root.first.checked_add(first.as_usize()?)?;
    Some((key(number)?, View { storage: root.storage.clone(), first }))
}

/// `(key, storage, class)` and the numbers behind it; also says how many bytes these are.
fn tensor_entry(entry: &Value, bytes: &[u8], storages: &Views) -> Option<(String, TensorRef, u64)> {
    let [number, storage, _] = entry.as_sequence()? else { return None };
    let View { storage, first } = storages.get(&key(storage)?)?;
    let axes = u32::from_le_bytes(*bytes.first_chunk()?);
    if axes > MAX_AXES {
        return None;
    }
    let (axes, count) = (axes as usize, 2 * axes as usize + 1);
    let numbers = bytes.get(8..8 + 8 * count)?.as_chunks::<8>().0.iter();
    let numbers: Vec<usize> =
        numbers.map(|n| usize::try_from(i64::from_le_bytes(*n)).ok()).collect::<Option<_>>()?;
    let tensor = TensorRef {
        dtype: storage.dtype?,
        offset: first.checked_add(numbers[2 * axes])?,
        shape: numbers[..axes].to_vec(),
        stride: numbers[axes..2 * axes].to_vec(),
        requires_grad: false,
        storage: storage.clone(),
    };
    let within = tensor.end().is_some_and(|end| end <= tensor.storage.numel);
    within.then_some((key(number)?, tensor, 8 + 8 * count as u64))
}
