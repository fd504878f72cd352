//! A writer of Python pickles, protocols 2 and 4, which Python and numpy read back as the same values.
//!
//! numpy values are written as numpy 2 itself does (module `numpy._core.multiarray`; numpy 1.26 and later
//! read it). Classes and functions are written only from a list of known data types, since Python runs
//! what a pickle names.

use std::collections::HashMap;

use super::dict::Dict;
use super::error::PickleError;
use super::numpy::{Dtype, NdArray, Scalar};
use super::opcode as op;
use super::torch::{StorageRef, TensorRef};
use super::value::{Global, Object, Value};

/// Protocols that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// What `torch.save` writes.
    Two,
    /// Python's default from 3.8 to 3.13, what nnU-Net's property files have.
    Four,
}

/// Writes `value` as one pickle.
///
/// Tensors and storages become references to storages outside the pickle, as `torch.save` writes them; only
/// a torch archive makes sense of those.
///
/// # Errors
/// Classes and calls that are not known data types, and values nested more than 200 deep.
pub fn pickle(value: &Value, protocol: Protocol) -> Result<Vec<u8>, PickleError> {
    let mut pickler = Pickler { out: Vec::new(), protocol, memo: HashMap::new() };
    pickler.out.extend([op::PROTO, if protocol == Protocol::Two { 2 } else { 4 }]);
    pickler.value(value, 0)?;
    pickler.out.push(op::STOP);
    Ok(pickler.out)
}

/// Deepest nesting that is written, as deep as what is read.
const MAX_DEPTH: usize = 200;

/// What later references may point to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Memo {
    Str(String),
    Global(String, String),
    Dtype(Dtype),
}

struct Pickler {
    out: Vec<u8>,
    protocol: Protocol,
    memo: HashMap<Memo, u32>,
}

impl Pickler {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), PickleError> {
        if depth > MAX_DEPTH {
            return Err(PickleError::TooDeep { limit: MAX_DEPTH });
        }
        match value {
            Value::None => self.out.push(op::NONE),
            Value::Bool(b) => self.out.push(if *b { op::NEWTRUE } else { op::NEWFALSE }),
            Value::Int(i) => self.int(*i),
            Value::BigInt(bytes) => self.big_int(bytes),
            Value::Float(f) => {
                self.out.push(op::BINFLOAT);
                self.out.extend(f.to_be_bytes());
            }
            Value::Str(s) => self.str(s),
            Value::Bytes(b) => self.bytes(b),
            Value::List(items) => {
                self.out.push(op::EMPTY_LIST);
                self.items(items, depth)?;
            }
            Value::Tuple(items) => self.tuple(items, depth)?,
            Value::Set(items) => {
                self.global("builtins", "set");
                self.out.push(op::EMPTY_LIST);
                self.items(items, depth)?;
                self.out.extend([op::TUPLE1, op::REDUCE]);
            }
            Value::Dict(dict) => {
                self.out.push(op::EMPTY_DICT);
                self.entries(dict, depth)?;
            }
            Value::Scalar(scalar) => self.scalar(scalar)?,
            Value::NdArray(array) => self.array(array)?,
            Value::Tensor(tensor) => self.tensor(tensor)?,
            Value::Storage(storage) => self.storage(storage)?,
            Value::Global(global) => {
                if !is_named_function(global) {
                    check_writable(global)?;
                }
                self.global(&global.module, &global.name);
            }
            Value::Object(object) => self.object(object, depth)?,
        }
        Ok(())
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Result<(), PickleError> {
        if !items.is_empty() {
            self.out.push(op::MARK);
            items.iter().try_for_each(|v| self.value(v, depth + 1))?;
            self.out.push(op::APPENDS);
        }
        Ok(())
    }

    fn entries(&mut self, dict: &Dict, depth: usize) -> Result<(), PickleError> {
        if !dict.is_empty() {
            self.out.push(op::MARK);
            for (key, value) in dict.iter() {
                self.value(key, depth + 1)?;
                self.value(value, depth + 1)?;
            }
            self.out.push(op::SETITEMS);
        }
        Ok(())
    }

    fn tuple(&mut self, items: &[Value], depth: usize) -> Result<(), PickleError> {
        let short = [op::EMPTY_TUPLE, op::TUPLE1, op::TUPLE2, op::TUPLE3];
        if items.len() >= short.len() {
            self.out.push(op::MARK);
        }
        items.iter().try_for_each(|v| self.value(v, depth + 1))?;
        self.out.push(short.get(items.len()).copied().unwrap_or(op::TUPLE));
        Ok(())
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.out.extend([op::BININT1, byte]);
        } else if let Ok(short) = u16::try_from(value) {
            self.out.push(op::BININT2);
            self.out.extend(short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(value) {
            self.out.push(op::BININT);
            self.out.extend(int.to_le_bytes());
        } else {
            self.out.extend([op::LONG1, 8]);
            self.out.extend(value.to_le_bytes());
        }
    }

    fn big_int(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len) => self.out.extend([op::LONG1, len]),
            Err(_) => {
                self.out.push(op::LONG4);
                self.out.extend((bytes.len() as u32).to_le_bytes());
            }
        }
        self.out.extend(bytes);
    }

    fn size(&mut self, value: usize) -> Result<(), PickleError> {
        let reason = "a size beyond 63 bits";
        self.int(i64::try_from(value).map_err(|_| PickleError::NoForm { kind: "int", reason })?);
        Ok(())
    }

    fn str(&mut self, text: &str) {
        if self.recall(&Memo::Str(text.to_owned())) {
            return;
        }
        self.raw_str(text);
        self.memoize(Memo::Str(text.to_owned()));
    }

    fn raw_str(&mut self, text: &str) {
        match (self.protocol, u8::try_from(text.len()), u32::try_from(text.len())) {
            (Protocol::Four, Ok(len), _) => self.out.extend([op::SHORT_BINUNICODE, len]),
            (_, _, Ok(len)) => {
                self.out.push(op::BINUNICODE);
                self.out.extend(len.to_le_bytes());
            }
            (_, _, Err(_)) => {
                self.out.push(op::BINUNICODE8);
                self.out.extend((text.len() as u64).to_le_bytes());
            }
        }
        self.out.extend(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match (self.protocol, u8::try_from(bytes.len()), u32::try_from(bytes.len())) {
            (Protocol::Two, _, _) => {
                // Protocol 2 has no bytes: Python writes the call that makes them from Latin-1 text.
                self.global("_codecs", "encode");
                let text: String = bytes.iter().copied().map(char::from).collect();
                self.raw_str(&text);
                self.str("latin1");
                self.out.extend([op::TUPLE2, op::REDUCE]);
                return;
            }
            (Protocol::Four, Ok(len), _) => self.out.extend([op::SHORT_BINBYTES, len]),
            (Protocol::Four, _, Ok(len)) => {
                self.out.push(op::BINBYTES);
                self.out.extend(len.to_le_bytes());
            }
            (Protocol::Four, _, Err(_)) => {
                self.out.push(op::BINBYTES8);
                self.out.extend((bytes.len() as u64).to_le_bytes());
            }
        }
        self.out.extend(bytes);
    }

    fn global(&mut self, module: &str, name: &str) {
        let memo = Memo::Global(module.to_owned(), name.to_owned());
        if self.recall(&memo) {
            return;
        }
        if self.protocol == Protocol::Two {
            // Protocol 2 is also read by Python 2, where the module has another name; Python 3 translates.
            let module = if module == "builtins" { "__builtin__" } else { module };
            self.out.push(op::GLOBAL);
            self.out.extend(module.as_bytes());
            self.out.push(b'\n');
            self.out.extend(name.as_bytes());
            self.out.push(b'\n');
        } else {
            self.str(module);
            self.str(name);
            self.out.push(op::STACK_GLOBAL);
        }
        self.memoize(memo);
    }

    fn recall(&mut self, memo: &Memo) -> bool {
        let Some(&number) = self.memo.get(memo) else { return false };
        match u8::try_from(number) {
            Ok(byte) => self.out.extend([op::BINGET, byte]),
            Err(_) => {
                self.out.push(op::LONG_BINGET);
                self.out.extend(number.to_le_bytes());
            }
        }
        true
    }

    fn memoize(&mut self, memo: Memo) {
        let number = self.memo.len() as u32;
        match (self.protocol, u8::try_from(number)) {
            (Protocol::Four, _) => self.out.push(op::MEMOIZE),
            (Protocol::Two, Ok(byte)) => self.out.extend([op::BINPUT, byte]),
            (Protocol::Two, Err(_)) => {
                self.out.push(op::LONG_BINPUT);
                self.out.extend(number.to_le_bytes());
            }
        }
        self.memo.insert(memo, number);
    }

    fn dtype(&mut self, dtype: Dtype) -> Result<(), PickleError> {
        if self.recall(&Memo::Dtype(dtype)) {
            return Ok(());
        }
        let reason = "numpy has no bfloat16";
        let code = dtype.numpy_code().ok_or(PickleError::NoForm { kind: "numpy dtype", reason })?;
        self.global("numpy", "dtype");
        self.str(code);
        self.out.extend([op::NEWFALSE, op::NEWTRUE, op::TUPLE3, op::REDUCE]);
        self.memoize(Memo::Dtype(dtype));
        // State: version 3, byte order, no fields, unknown size and alignment, no flags.
        self.out.push(op::MARK);
        self.int(3);
        self.str(if dtype.size() == 1 { "|" } else { "<" });
        self.out.extend([op::NONE, op::NONE, op::NONE]);
        self.int(-1);
        self.int(-1);
        self.int(0);
        self.out.extend([op::TUPLE, op::BUILD]);
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<(), PickleError> {
        self.global("numpy._core.multiarray", "scalar");
        self.dtype(scalar.dtype())?;
        self.bytes(scalar.bytes());
        self.out.extend([op::TUPLE2, op::REDUCE]);
        Ok(())
    }

    fn array(&mut self, array: &NdArray) -> Result<(), PickleError> {
        self.global("numpy._core.multiarray", "_reconstruct");
        self.global("numpy", "ndarray");
        self.int(0);
        self.out.push(op::TUPLE1);
        self.bytes(b"b");
        self.out.extend([op::TUPLE3, op::REDUCE, op::MARK]);
        self.int(1);
        self.sizes(array.shape())?;
        self.dtype(array.dtype())?;
        self.out.push(op::NEWFALSE);
        self.bytes(array.bytes());
        self.out.extend([op::TUPLE, op::BUILD]);
        Ok(())
    }

    fn sizes(&mut self, sizes: &[usize]) -> Result<(), PickleError> {
        self.out.push(op::MARK);
        sizes.iter().try_for_each(|&s| self.size(s))?;
        self.out.push(op::TUPLE);
        Ok(())
    }

    fn storage(&mut self, storage: &StorageRef) -> Result<(), PickleError> {
        let reason = "torch has no storage class of its number type";
        let class = storage.dtype.and_then(Dtype::torch_storage);
        let class = class.ok_or(PickleError::NoForm { kind: "torch storage", reason })?;
        self.out.push(op::MARK);
        self.str("storage");
        self.global("torch", class);
        self.str(&storage.key);
        self.str(&storage.device);
        self.size(storage.numel)?;
        self.out.extend([op::TUPLE, op::BINPERSID]);
        Ok(())
    }

    fn tensor(&mut self, tensor: &TensorRef) -> Result<(), PickleError> {
        if tensor.storage.dtype != Some(tensor.dtype) {
            let reason = "its number type is not that of its storage";
            return Err(PickleError::NoForm { kind: "torch tensor", reason });
        }
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.out.push(op::MARK);
        self.storage(&tensor.storage)?;
        self.size(tensor.offset)?;
        self.sizes(&tensor.shape)?;
        self.sizes(&tensor.stride)?;
        self.out.push(if tensor.requires_grad { op::NEWTRUE } else { op::NEWFALSE });
        // Backward hooks: none.
        self.global("collections", "OrderedDict");
        self.out.extend([op::EMPTY_TUPLE, op::REDUCE, op::TUPLE, op::REDUCE]);
        Ok(())
    }

    fn object(&mut self, object: &Object, depth: usize) -> Result<(), PickleError> {
        check_writable(&object.global)?;
        if !object.kwargs.is_empty() {
            let reason = "keyword arguments have no form in this protocol";
            return Err(PickleError::NoForm { kind: "object", reason });
        }
        self.global(&object.global.module, &object.global.name);
        self.tuple(&object.args, depth)?;
        self.out.push(op::REDUCE);
        self.items(&object.items, depth)?;
        self.entries(&object.entries, depth)?;
        if let Some(state) = &object.state {
            self.value(state, depth + 1)?;
            self.out.push(op::BUILD);
        }
        Ok(())
    }
}

/// nnU-Net's postprocessing function, which its files name and which only apply-postprocessing calls.
fn is_named_function(global: &Global) -> bool {
    global.module == "nnunetv2.postprocessing.remove_connected_components"
        && global.name == "remove_all_but_largest_component_from_segmentation"
}

/// Known data types: whatever their arguments, making one does nothing else.
fn check_writable(global: &Global) -> Result<(), PickleError> {
    let known = match global.module.as_str() {
        "torch" => {
            matches!(global.name.as_str(), "device" | "Size")
                || Dtype::from_torch_name(&global.name).is_some()
        }
        "collections" => global.name == "OrderedDict",
        "pathlib" => {
            matches!(global.name.as_str(), "PosixPath" | "WindowsPath" | "PurePosixPath" | "PureWindowsPath")
        }
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(PickleError::NotWritable { module: global.module.clone(), name: global.name.clone() })
}
