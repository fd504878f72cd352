//! JSON as Python's `json` module reads and writes it: `NaN` and `Infinity` as bare tokens, integers
//! and floats told apart, floats printed as Python prints them, indent 4, non-ASCII escaped.
//!
//! nnU-Net's files (plans, fingerprint, summaries, splits) are written through here, so that they come
//! out byte for byte as the reference would write the same values.

mod convert;
mod parse;
mod python;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

pub use parse::ParseError;
pub use python::python_float;

/// A JSON document. Objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number written without fraction or exponent, within 64 bits.
    Int(i64),
    /// Any other number; may be NaN or infinite.
    Float(f64),
    /// A string.
    String(String),
    /// `[...]`
    Array(Vec<Json>),
    /// `{...}`
    Object(IndexMap<String, Json>),
}

/// Order of the keys of every object when writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// As they stand in the document.
    Kept,
    /// By code points (`sort_keys=True`).
    Sorted,
}

/// Why a JSON file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The file cannot be opened or read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content is no JSON.
    #[error("{path}: not valid JSON: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ParseError,
    },
}

impl Json {
    /// An object with the given entries, in that order.
    pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Json)>) -> Self {
        Self::Object(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// The value of `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The entries, if this is an object.
    pub fn as_object(&self) -> Option<&IndexMap<String, Json>> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, whichever way it was written.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if it was written as an integer.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, JsonError> {
        let bytes =
            std::fs::read(path).map_err(|source| JsonError::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(text.trim_start_matches('\u{feff}'))
            .map_err(|source| JsonError::Parse { path: path.to_owned(), source })
    }

    /// Writes a file as `json.dump(..., indent=4)` does, whole or not at all.
    pub fn save(&self, path: &Path, order: KeyOrder) -> Result<(), JsonError> {
        nnunet_base::files::write_atomic(path, self.to_python(order).as_bytes())
            .map_err(|source| JsonError::Write { path: path.to_owned(), source })
    }
}
