//! safetensors files: a JSON header with name, type, shape and place of each tensor, then the numbers.
//!
//! Written as f32, aliases left out; read from any plain number type. Format: <https://github.com/huggingface/safetensors>.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::torch::read_f32s;
use super::write_file;
use crate::error::CheckpointError;
use crate::state_dict::{StateDict, without_wrappers};
use nnunet_graph::optimiser::StateTensor;
use nnunet_pyformats::pickle::Dtype;

/// Longest header, as the reference implementation has it.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "BOOL" => Dtype::Bool,
        "U8" => Dtype::U8,
        "I8" => Dtype::I8,
        "U16" => Dtype::U16,
        "I16" => Dtype::I16,
        "U32" => Dtype::U32,
        "I32" => Dtype::I32,
        "U64" => Dtype::U64,
        "I64" => Dtype::I64,
        "F16" => Dtype::F16,
        "BF16" => Dtype::Bf16,
        "F32" => Dtype::F32,
        "F64" => Dtype::F64,
        _ => return None,
    })
}

/// Reads the tensors of a safetensors file as f32.
///
/// # Errors
/// Files of another format and headers that contradict the file.
pub fn read_safetensors(path: &Path) -> Result<StateDict, CheckpointError> {
    let failed = |e| CheckpointError::read(path, e);
    let file = File::open(path).map_err(failed)?;
    let file_len = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let not_this = |found: String| CheckpointError::NotThisFormat {
        path: path.to_owned(),
        found,
        expected: "a safetensors file",
    };
    let mut len = [0; 8];
    file.read_exact(&mut len).map_err(|_| not_this(format!("the file has {file_len} bytes")))?;
    let header_len = u64::from_le_bytes(len);
    if header_len > MAX_HEADER || header_len > file_len - 8 {
        return Err(not_this(format!("the file of {file_len} bytes promises a header of {header_len}")));
    }
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|e| not_this(format!("the header is no JSON object ({e})")))?;
    let start = 8 + header_len;
    let mut dict = (Vec::new(), Vec::new());
    let mut covered = 0u64;
    for (name, entry) in header {
        if name == "__metadata__" {
            continue;
        }
        let damaged = |found: String, expected: &str| {
            CheckpointError::damaged(path, format!("tensor {name}"), found, expected)
        };
        let entry: Entry = serde_json::from_value(entry)
            .map_err(|e| damaged(e.to_string(), "dtype, shape and data_offsets"))?;
        let Some(dtype) = dtype(&entry.dtype) else {
            return Err(damaged(format!("type {}", entry.dtype), "a plain number type"));
        };
        let count = entry.shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let bytes = count.and_then(|n| n.checked_mul(dtype.size())).map(|b| b as u64);
        let [begin, end] = entry.data_offsets;
        let (Some(count), true) =
            (count, end <= file_len - start && bytes.is_some() && end.checked_sub(begin) == bytes)
        else {
            let found = format!("bytes {begin} to {end} for shape {:?} of type {}", entry.shape, entry.dtype);
            return Err(damaged(found, "a place of that size within the file"));
        };
        covered = covered.saturating_add(end - begin);
        if covered > file_len {
            return Err(damaged("numbers that others have too".to_owned(), "numbers of its own"));
        }
        file.seek(SeekFrom::Start(start + begin)).map_err(failed)?;
        let data = read_f32s(&mut file, dtype, count, false).map_err(failed)?;
        dict.0.push((without_wrappers(&name).to_owned(), dict.1.len()));
        dict.1.push(StateTensor { shape: entry.shape, data });
    }
    Ok(StateDict::from_file(dict.0, dict.1))
}

/// Writes the tensors by their canonical names, by a temporary name.
///
/// # Errors
/// What the system refuses.
pub fn write_safetensors(path: &Path, weights: &StateDict) -> Result<(), CheckpointError> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    let mut at = 0u64;
    for (name, tensor) in weights.tensors() {
        let end = at + tensor.data.len() as u64 * 4;
        let entry = serde_json::json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [at, end] });
        header.insert(name.to_owned(), entry);
        at = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // Numbers begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_file(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        weights.tensors().try_for_each(|(_, tensor)| super::torch::write_f32s(out, &tensor.data))
    })
}
