//! The few constructors whose meaning is known, carried out as data.
//!
//! numpy: `scalar`, `_reconstruct`, `_frombuffer`, `dtype`; torch: tensors, parameters, storages, sizes;
//! collections and builtins: dicts, sets, bytes. Everything else becomes an opaque object.

use super::error::PickleError;
use super::machine::Machine;
use super::node::{Id, Node, ObjectNode};
use super::numpy::{Dtype, NdArray, Scalar, byte_count, fortran_to_c, swap_bytes};
use super::torch::{StorageRef, TensorRef};
use super::value::{Global, Value};

impl Machine<'_> {
    /// Carries out `callable(*args, **kwargs)` if it is known, else keeps it as an object.
    pub(super) fn call(
        &mut self,
        callable: Id,
        args: Vec<Id>,
        kwargs: Vec<(Id, Id)>,
    ) -> Result<(), PickleError> {
        let Some(Value::Global(global)) = self.leaf(callable) else {
            // The result of another call is called: keep both.
            let global = Global { module: String::new(), name: "<result of a call>".to_owned() };
            let args = std::iter::once(callable).chain(args).collect();
            return self.push_object(ObjectNode { kwargs, ..ObjectNode::new(global, args) });
        };
        let global = global.clone();
        let known = if kwargs.is_empty() { self.known(&global, &args)? } else { None };
        match known {
            Some(Known::Node(node)) => self.push(node),
            Some(Known::Argument(id)) => {
                self.push_id(id);
                Ok(())
            }
            None => self.push_object(ObjectNode { kwargs, ..ObjectNode::new(global, args) }),
        }
    }

    fn known(&self, global: &Global, args: &[Id]) -> Result<Option<Known>, PickleError> {
        let node = match (global.module.as_str(), global.name.as_str()) {
            ("collections", "OrderedDict") => self.ordered_dict(args)?,
            ("collections", "defaultdict") => Some(Node::Dict(Vec::new())),
            ("builtins" | "__builtin__", "set" | "frozenset") => match args {
                [] => Some(Node::Set(Vec::new())),
                [items] => self.copied(*items)?.map(Node::Set),
                _ => None,
            },
            ("builtins" | "__builtin__", "bytes" | "bytearray") => match args {
                [] => Some(bytes_node(Vec::new())),
                [text, ..] => self.latin1(*text)?.map(bytes_node),
            },
            ("_codecs", "encode") => match args {
                [text, encoding] => match (self.leaf(*text), self.leaf(*encoding).and_then(Value::as_str)) {
                    (Some(Value::Str(_)), Some("latin1" | "latin-1")) => self.latin1(*text)?.map(bytes_node),
                    _ => None,
                },
                _ => None,
            },
            ("numpy", "dtype") => self.dtype(args),
            ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar") => self.scalar(args)?,
            ("numpy._core.multiarray" | "numpy.core.multiarray", "_reconstruct") => {
                let plain = args.first().and_then(|&c| self.leaf(c));
                let plain =
                    matches!(plain, Some(Value::Global(g)) if g.module == "numpy" && g.name == "ndarray");
                plain.then_some(Node::PendingArray)
            }
            ("numpy._core.numeric" | "numpy.core.numeric", "_frombuffer") => self.buffer_array(args)?,
            ("torch", "Size") => match args {
                [items] => self.copied(*items)?.map(Node::Tuple),
                _ => None,
            },
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => self.tensor(args, None)?,
            ("torch._utils", "_rebuild_tensor_v3") => {
                let dtype = args.get(6).and_then(|&d| self.torch_dtype(d));
                dtype.map(|d| self.tensor(args, Some(d))).transpose()?.flatten()
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                let inner = args.first().filter(|&&t| matches!(self.leaf(t), Some(Value::Tensor(_))));
                return Ok(inner.map(|&t| Known::Argument(t)));
            }
            _ => None,
        };
        Ok(node.map(Known::Node))
    }

    fn ordered_dict(&self, args: &[Id]) -> Result<Option<Node>, PickleError> {
        let pairs = match args {
            [] => Some(Vec::new()),
            [pairs] => self.copied(*pairs)?,
            _ => None,
        };
        let pair = |id: Id| match self.sequence(id) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        Ok(pairs.and_then(|p| p.into_iter().map(pair).collect::<Option<_>>()).map(Node::Dict))
    }

    /// The items of a tuple or list, paid for.
    fn copied(&self, id: Id) -> Result<Option<Vec<Id>>, PickleError> {
        let Some(items) = self.sequence(id) else { return Ok(None) };
        self.charge(size_of_val(items))?;
        Ok(Some(items.to_vec()))
    }

    /// `bytes` as they are, or the Latin-1 bytes of a text; paid for.
    fn latin1(&self, id: Id) -> Result<Option<Vec<u8>>, PickleError> {
        Ok(match self.leaf(id) {
            Some(Value::Bytes(bytes)) => {
                self.charge(bytes.len())?;
                Some(bytes.clone())
            }
            Some(Value::Str(text)) => {
                self.charge(text.len())?;
                text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
            }
            _ => None,
        })
    }

    fn dtype(&self, args: &[Id]) -> Option<Node> {
        let code = self.leaf(*args.first()?)?.as_str()?;
        let dtype = Dtype::from_numpy_code(code)?;
        Some(Node::Dtype { dtype, big_endian: code.starts_with('>') })
    }

    fn plain_dtype(&self, id: Id) -> Option<(Dtype, bool)> {
        match self.node(id) {
            Node::Dtype { dtype, big_endian } => Some((*dtype, *big_endian)),
            _ => None,
        }
    }

    fn scalar(&self, args: &[Id]) -> Result<Option<Node>, PickleError> {
        let &[dtype, bytes] = args else { return Ok(None) };
        let Some((dtype, big_endian)) = self.plain_dtype(dtype) else { return Ok(None) };
        let Some(mut bytes) = self.latin1(bytes)? else { return Ok(None) };
        if big_endian {
            bytes.reverse();
        }
        let scalar = Scalar::new(dtype, &bytes).ok_or_else(|| {
            self.malformed(format!("{} bytes", bytes.len()), "the bytes of one numpy scalar")
        })?;
        Ok(Some(Node::Leaf(Value::Scalar(scalar))))
    }

    /// `_frombuffer(bytes, dtype, shape, order)` of protocol 5.
    fn buffer_array(&self, args: &[Id]) -> Result<Option<Node>, PickleError> {
        let &[bytes, dtype, shape, order] = args else { return Ok(None) };
        let (Some((dtype, big_endian)), Some(shape)) = (self.plain_dtype(dtype), self.sizes(shape)) else {
            return Ok(None);
        };
        let Some(bytes) = self.latin1(bytes)? else { return Ok(None) };
        let fortran = self.leaf(order).and_then(Value::as_str) == Some("F");
        self.array_value(dtype, big_endian, shape, fortran, bytes).map(Some)
    }

    fn array_value(
        &self,
        dtype: Dtype,
        big_endian: bool,
        shape: Vec<usize>,
        fortran: bool,
        mut bytes: Vec<u8>,
    ) -> Result<Node, PickleError> {
        if byte_count(dtype, &shape) != Some(bytes.len()) {
            let found =
                format!("{} bytes for an array of {} of shape {shape:?}", bytes.len(), dtype.torch_name());
            return Err(self.malformed(found, "as many bytes as the shape says"));
        }
        if big_endian {
            swap_bytes(dtype, &mut bytes);
        }
        if fortran && shape.len() > 1 {
            bytes = fortran_to_c(dtype, &shape, &bytes);
        }
        let array = NdArray::new(dtype, shape, bytes);
        Ok(Node::Leaf(Value::NdArray(array.ok_or_else(|| self.malformed("another size", "an array"))?)))
    }

    fn torch_dtype(&self, id: Id) -> Option<Dtype> {
        match self.leaf(id)? {
            Value::Global(g) if g.module == "torch" => Dtype::from_torch_name(&g.name),
            _ => None,
        }
    }

    /// `(storage, offset, size, stride, ...)`; `dtype` is the storage's where it is not given.
    fn tensor(&self, args: &[Id], dtype: Option<Dtype>) -> Result<Option<Node>, PickleError> {
        let &[storage, offset, shape, stride, ref rest @ ..] = args else { return Ok(None) };
        let Some(Value::Storage(storage)) = self.leaf(storage) else { return Ok(None) };
        let Some(dtype) = dtype.or(storage.dtype) else { return Ok(None) };
        let offset = self.leaf(offset).and_then(Value::as_usize);
        let (Some(offset), Some(shape), Some(stride)) = (offset, self.sizes(shape), self.sizes(stride))
        else {
            return Err(self.malformed("another value", "the offset, shape and strides of a tensor"));
        };
        if shape.len() != stride.len() {
            let found = format!("{} lengths and {} strides", shape.len(), stride.len());
            return Err(self.malformed(found, "one stride per axis of a tensor"));
        }
        let requires_grad =
            rest.first().and_then(|&r| self.leaf(r)).and_then(Value::as_bool).unwrap_or(false);
        let storage = (**storage).clone();
        let elements = match storage.dtype {
            Some(stored) => storage.numel.checked_mul(stored.size()),
            None => Some(storage.numel),
        };
        let tensor = TensorRef { storage, dtype, offset, shape, stride, requires_grad };
        let end = tensor.end().and_then(|e| e.checked_mul(dtype.size()));
        if !matches!((end, elements), (Some(end), Some(all)) if end <= all) {
            let found =
                format!("a tensor of shape {:?} beyond its storage {}", tensor.shape, tensor.storage.key);
            return Err(self.malformed(found, "a tensor within its storage"));
        }
        let tensor = Value::Tensor(Box::new(tensor));
        self.charge(tensor.own_bytes())?;
        Ok(Some(Node::Leaf(tensor)))
    }

    /// torch's references to what is outside the pickle: `('storage', type, key, device, numel[, view])`,
    /// `('module', class, file, source)` for a class with its source, and in the oldest files `(class, file, source)`
    /// and the keys of tensors and storages alone.
    pub(super) fn persistent(&mut self, id: Id) -> Result<(), PickleError> {
        let class = match self.sequence(id) {
            Some(&[class, _, _]) => Some(class),
            Some(&[tag, class, _, _]) if self.leaf(tag).and_then(Value::as_str) == Some("module") => {
                Some(class)
            }
            _ => None,
        };
        if let Some(class) = class.filter(|&class| matches!(self.leaf(class), Some(Value::Global(_)))) {
            self.push_id(class);
            return Ok(());
        }
        let value = match self.leaf(id) {
            Some(Value::Str(key)) => self.outside.get(key).cloned(),
            Some(Value::Int(key)) => self.outside.get(&key.to_string()).cloned(),
            _ => self.storage(id),
        };
        let value = value.ok_or_else(|| self.malformed("another value", "a reference to a storage"))?;
        self.charge(value.own_bytes())?;
        self.push(Node::Leaf(value))
    }

    /// A storage, or the class alone of one whose numbers have no meaning here (complex, quantised).
    fn storage(&self, id: Id) -> Option<Value> {
        let &[tag, class, key, device, numel, ref view @ ..] = self.sequence(id)? else { return None };
        if self.leaf(tag)?.as_str()? != "storage"
            || view.iter().any(|&v| !matches!(self.leaf(v), Some(Value::None)))
        {
            return None;
        }
        let Value::Global(class) = self.leaf(class)? else { return None };
        let short = |name: &&str| name.len() <= 256;
        let dtype = match class.name.as_str() {
            "UntypedStorage" => None,
            name => match Dtype::from_torch_storage(name) {
                None => return Some(Value::Global(class.clone())),
                known => known,
            },
        };
        Some(Value::Storage(Box::new(StorageRef {
            dtype,
            key: self.leaf(key)?.as_str().filter(short)?.to_owned(),
            device: self.leaf(device)?.as_str().filter(short)?.to_owned(),
            numel: self.leaf(numel)?.as_usize()?,
        })))
    }

    /// Gives `state` to the value `target`.
    pub(super) fn build(&mut self, target: Id, state: Id) -> Result<(), PickleError> {
        let replacement = match self.node(target) {
            Node::Dtype { dtype, .. } => {
                // (version, byte order, subarray, names, fields, ...)
                let order = self.sequence(state).and_then(|s| self.leaf(*s.get(1)?)?.as_str());
                let order =
                    order.ok_or_else(|| self.malformed("another value", "the state of a numpy dtype"))?;
                Node::Dtype { dtype: *dtype, big_endian: order == ">" }
            }
            Node::PendingArray => match self.array_state(state)? {
                Some(array) => array,
                None => {
                    let global = Global { module: "numpy".to_owned(), name: "ndarray".to_owned() };
                    Node::Object(Box::new(ObjectNode {
                        state: Some(state),
                        ..ObjectNode::new(global, Vec::new())
                    }))
                }
            },
            Node::Object(_) => {
                if let Node::Object(object) = self.node_mut(target) {
                    object.state = Some(state);
                }
                return Ok(());
            }
            // Attributes that Python code hung on a dict or list (such as `_metadata`) carry no data.
            Node::Dict(_) | Node::List(_) | Node::Set(_) => return Ok(()),
            Node::Leaf(_) | Node::Tuple(_) => {
                return Err(self.malformed("a plain value", "an object to give a state"));
            }
        };
        *self.node_mut(target) = replacement;
        Ok(())
    }

    /// `(version, shape, dtype, is_fortran, bytes)`; `None` for arrays of other than plain numbers.
    fn array_state(&self, state: Id) -> Result<Option<Node>, PickleError> {
        let Some(&[_, shape, dtype, fortran, bytes]) = self.sequence(state) else {
            return Err(self.malformed("another value", "the state of a numpy array"));
        };
        let Some((dtype, big_endian)) = self.plain_dtype(dtype) else { return Ok(None) };
        let fortran = self.leaf(fortran).and_then(Value::as_bool);
        let (Some(shape), Some(fortran), Some(bytes)) = (self.sizes(shape), fortran, self.latin1(bytes)?)
        else {
            return Err(self.malformed("another value", "the shape, order and bytes of a numpy array"));
        };
        self.array_value(dtype, big_endian, shape, fortran, bytes).map(Some)
    }
}

enum Known {
    Node(Node),
    /// The call returns this argument of it.
    Argument(Id),
}

fn bytes_node(bytes: Vec<u8>) -> Node {
    Node::Leaf(Value::Bytes(bytes))
}
