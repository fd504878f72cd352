//! What a pickle holds, as plain data: a tree of values without any behaviour.
//!
//! Shared containers of the pickle become copies (arrays share their bytes), so that a value can be walked
//! without regard to identity. Unknown classes and calls are kept as [`Object`]: named, never run.

use super::dict::Dict;
use super::numpy::{NdArray, Scalar};
use super::torch::{StorageRef, TensorRef};

/// One Python value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int` that fits 64 bits
    Int(i64),
    /// `int` beyond 64 bits: two's complement, least significant byte first
    BigInt(Vec<u8>),
    /// `float`
    Float(f64),
    /// `str`
    Str(String),
    /// `bytes` or `bytearray`
    Bytes(Vec<u8>),
    /// `list`
    List(Vec<Value>),
    /// `tuple` (also `torch.Size`)
    Tuple(Vec<Value>),
    /// `set` or `frozenset`, in the order of the pickle
    Set(Vec<Value>),
    /// `dict`, `OrderedDict` or `defaultdict`, in insertion order
    Dict(Dict),
    /// numpy scalar of a plain number type
    Scalar(Scalar),
    /// numpy array of a plain number type
    NdArray(NdArray),
    /// torch tensor: a view of a storage that lies outside the pickle
    Tensor(Box<TensorRef>),
    /// torch storage that lies outside the pickle
    Storage(Box<StorageRef>),
    /// a class or function, by name
    Global(Global),
    /// anything else: what would be called with which arguments
    Object(Box<Object>),
}

/// A class or function that a pickle names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Global {
    /// Python module, e.g. `torch`.
    pub module: String,
    /// Qualified name within the module, e.g. `float32`.
    pub name: String,
}

/// An instance of a class that has no meaning here; nothing of it is ever run.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The class or function that Python would call.
    pub global: Global,
    /// Positional arguments of that call.
    pub args: Vec<Value>,
    /// Keyword arguments of that call.
    pub kwargs: Dict,
    /// State given to the instance afterwards (`__setstate__` or `__dict__`).
    pub state: Option<Value>,
    /// Entries added to the instance, for subclasses of `dict`.
    pub entries: Dict,
    /// Items appended to the instance, for subclasses of `list`.
    pub items: Vec<Value>,
}

impl Value {
    /// The text of a `str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The value of a `bool` (numpy's included).
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Scalar(s) => s.as_bool(),
            _ => None,
        }
    }

    /// The value of an `int` or numpy integer.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(*i),
            Self::Scalar(s) => s.as_i64(),
            _ => None,
        }
    }

    /// A non-negative integer as a size.
    pub fn as_usize(&self) -> Option<usize> {
        usize::try_from(self.as_i64()?).ok()
    }

    /// The value of an `int`, `float` or numpy number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(*i as f64),
            Self::Float(f) => Some(*f),
            Self::Scalar(s) => Some(s.as_f64()),
            _ => None,
        }
    }

    /// The items of a `list`, `tuple` or `set`.
    pub fn as_sequence(&self) -> Option<&[Value]> {
        match self {
            Self::List(v) | Self::Tuple(v) | Self::Set(v) => Some(v),
            _ => None,
        }
    }

    /// The numbers of a `list`, `tuple` or array of numbers.
    pub fn as_f64s(&self) -> Option<Vec<f64>> {
        match self {
            Self::NdArray(a) => Some(a.to_f64s()),
            _ => self.as_sequence()?.iter().map(Self::as_f64).collect(),
        }
    }

    /// The sizes of a `list`, `tuple` or array of non-negative integers.
    pub fn as_usizes(&self) -> Option<Vec<usize>> {
        match self {
            Self::NdArray(a) => a.to_i64s()?.into_iter().map(|v| usize::try_from(v).ok()).collect(),
            _ => self.as_sequence()?.iter().map(Self::as_usize).collect(),
        }
    }

    /// Bytes that a copy of a value without children takes beside those of every value. Copies of an array share
    /// its numbers.
    pub(super) fn own_bytes(&self) -> usize {
        let storage = |s: &StorageRef| size_of::<StorageRef>() + s.key.len() + s.device.len();
        match self {
            Self::Str(s) => s.len(),
            Self::Bytes(b) | Self::BigInt(b) => b.len(),
            Self::Global(g) => g.module.len() + g.name.len(),
            Self::NdArray(a) => size_of_val(a.shape()),
            Self::Storage(s) => storage(s),
            Self::Tensor(t) => {
                size_of::<TensorRef>()
                    + storage(&t.storage)
                    + size_of_val(&*t.shape)
                    + size_of_val(&*t.stride)
            }
            _ => 0,
        }
    }

    /// The dict, if it is one.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(d) => Some(d),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&NdArray> {
        match self {
            Self::NdArray(a) => Some(a),
            _ => None,
        }
    }

    /// The value of a string key, if this is a dict that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_dict()?.get(key)
    }

    /// The result of calling `module.name` with `args`, kept as it is, e.g. `torch.device("cpu")`.
    pub fn object(module: &str, name: &str, args: Vec<Value>) -> Self {
        Self::Object(Box::new(Object {
            global: Global { module: module.to_owned(), name: name.to_owned() },
            args,
            kwargs: Dict::new(),
            state: None,
            entries: Dict::new(),
            items: Vec::new(),
        }))
    }

    /// What the value is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Dict(_) => "dict",
            Self::Scalar(_) => "numpy scalar",
            Self::NdArray(_) => "numpy array",
            Self::Tensor(_) => "torch tensor",
            Self::Storage(_) => "torch storage",
            Self::Global(_) => "class",
            Self::Object(_) => "object",
        }
    }

    /// The Python value of a JSON value: objects become dicts with string keys.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::None,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Self::Int(i),
                None => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(s) => Self::Str(s.clone()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(map) => {
                Self::Dict(map.iter().map(|(k, v)| (Self::Str(k.clone()), Self::from_json(v))).collect())
            }
        }
    }

    /// The JSON value that Python's `json` would write: tuples become lists, keys become strings.
    ///
    /// `None` where JSON has no equivalent (bytes, arrays, objects, numbers that are not finite).
    pub fn to_json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::None => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Int(i) => (*i).into(),
            Self::Str(s) => s.clone().into(),
            Self::Float(_) | Self::Scalar(_) => match (self.as_bool(), self.as_i64()) {
                (Some(b), _) => b.into(),
                (None, Some(i)) => i.into(),
                (None, None) => serde_json::Number::from_f64(self.as_f64()?)?.into(),
            },
            Self::List(items) | Self::Tuple(items) => {
                serde_json::Value::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Self::Dict(dict) => {
                let mut map = serde_json::Map::new();
                for (key, value) in dict.iter() {
                    let key = match key {
                        Self::Str(s) => s.clone(),
                        Self::Int(i) => i.to_string(),
                        Self::Bool(b) => b.to_string(),
                        Self::None => "null".to_owned(),
                        _ => return None,
                    };
                    map.insert(key, value.to_json()?);
                }
                serde_json::Value::Object(map)
            }
            _ => return None,
        })
    }
}

macro_rules! from {
    ($($source:ty => $make:expr;)*) => {
        $(impl From<$source> for Value {
            fn from(v: $source) -> Self {
                let make = $make;
                make(v)
            }
        })*
    };
}

from! {
    bool => Value::Bool;
    i64 => Value::Int;
    i32 => |v: i32| Value::Int(v.into());
    u32 => |v: u32| Value::Int(v.into());
    usize => |v: usize| i64::try_from(v).map_or_else(|_| big(v as u64), Value::Int);
    f64 => Value::Float;
    &str => |v: &str| Value::Str(v.to_owned());
    String => Value::Str;
    Dict => Value::Dict;
    Scalar => Value::Scalar;
    NdArray => Value::NdArray;
}

fn big(v: u64) -> Value {
    let mut bytes = v.to_le_bytes().to_vec();
    bytes.push(0);
    Value::BigInt(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_back() {
        let json: serde_json::Value =
            serde_json::from_str(r#"{"b": [1, 2.5, null, true], "a": {"x": "y"}, "n": -7}"#).unwrap();
        assert_eq!(Value::from_json(&json).to_json(), Some(json));
        assert_eq!(Value::Bytes(vec![1]).to_json(), None);
        assert_eq!(Value::Float(f64::NAN).to_json(), None);
    }
}
