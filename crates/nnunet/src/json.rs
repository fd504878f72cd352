//! JSON as Python's `json` module reads and writes it: `NaN` and `Infinity` as bare tokens, integers
//! and floats told apart, floats printed as Python prints them, indent 4, non-ASCII escaped.
//!
//! nnU-Net's files (plans, fingerprint, summaries, splits) are written through here, so that they come
//! out byte for byte as the reference would write the same values.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

/// Objects in objects deeper than this are refused: no file of nnU-Net comes near.
const MAX_DEPTH: usize = 128;

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

/// Where and why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found and expected.
    pub message: String,
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

    /// Parses a document. Accepts `NaN`, `Infinity` and `-Infinity`; of a repeated key the last counts.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, position: 0 };
        parser.skip_space();
        let value = parser.value(0)?;
        parser.skip_space();
        if parser.position < text.len() {
            return Err(parser.error("the end of the document"));
        }
        Ok(value)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, JsonError> {
        let bytes =
            std::fs::read(path).map_err(|source| JsonError::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(text.trim_start_matches('\u{feff}'))
            .map_err(|source| JsonError::Parse { path: path.to_owned(), source })
    }

    /// The text that `json.dump(..., indent=4)` writes.
    pub fn to_python(&self, order: KeyOrder) -> String {
        let mut out = String::new();
        self.write(&mut out, order, 0);
        out
    }

    /// Writes a file as `json.dump(..., indent=4)` does, whole or not at all.
    pub fn save(&self, path: &Path, order: KeyOrder) -> Result<(), JsonError> {
        crate::files::write_atomic(path, self.to_python(order).as_bytes())
            .map_err(|source| JsonError::Write { path: path.to_owned(), source })
    }

    fn write(&self, out: &mut String, order: KeyOrder, level: usize) {
        let new_line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("    ", level));
        };
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Float(value) => out.push_str(&python_float(*value)),
            Self::String(text) => write_string(out, text),
            Self::Array(items) if items.is_empty() => out.push_str("[]"),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    new_line(out, level + 1);
                    item.write(out, order, level + 1);
                }
                new_line(out, level);
                out.push(']');
            }
            Self::Object(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                if order == KeyOrder::Sorted {
                    entries.sort_by_key(|(key, _)| *key);
                }
                out.push('{');
                for (i, (key, value)) in entries.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    new_line(out, level + 1);
                    write_string(out, key);
                    out.push_str(": ");
                    value.write(out, order, level + 1);
                }
                new_line(out, level);
                out.push('}');
            }
        }
    }
}

macro_rules! from {
    ($($t:ty => $variant:ident),*) => {$(
        impl From<$t> for Json {
            fn from(value: $t) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
from!(bool => Bool, i32 => Int, u32 => Int, i64 => Int, f32 => Float, f64 => Float, &str => String, String => String);

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or(Self::Float(value as f64), Self::Int)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json> + Clone> From<&[T]> for Json {
    fn from(items: &[T]) -> Self {
        Self::Array(items.iter().cloned().map(Into::into).collect())
    }
}

impl<T: Into<Json>, const N: usize> From<[T; N]> for Json {
    fn from(items: [T; N]) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::String(text),
            Value::Array(items) => items.into(),
            Value::Object(entries) => Self::object(entries.into_iter().map(|(k, v)| (k, v.into()))),
        }
    }
}

impl From<Json> for serde_json::Value {
    /// NaN and infinities, which this type has not, become null.
    fn from(value: Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Int(value) => value.into(),
            Json::Float(value) => value.into(),
            Json::String(text) => Self::String(text),
            Json::Array(items) => Self::Array(items.into_iter().map(Into::into).collect()),
            Json::Object(entries) => Self::Object(entries.into_iter().map(|(k, v)| (k, v.into())).collect()),
        }
    }
}

/// `repr(value)` of a Python float, with JSON's names for what is not finite.
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    // Shortest digits and the bounds for an exponent are the same in both languages; only the
    // exponent's form differs (1e-5 against 1e-05, 1e16 against 1e+16).
    let text = format!("{value:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn error(&self, expected: &str) -> ParseError {
        let found = match self.rest().chars().next() {
            None => "the document ends".to_owned(),
            Some(c) => format!("found {c:?}"),
        };
        self.error_with(format!("{found}, expected {expected}"))
    }

    fn error_with(&self, message: String) -> ParseError {
        let before = &self.text[..self.position];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.position += token.len();
        }
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json, ParseError> {
        if depth > MAX_DEPTH {
            return Err(self.error_with(format!("nested more than {MAX_DEPTH} levels deep")));
        }
        const TOKENS: [(&str, Json); 6] = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        for (token, value) in TOKENS {
            if self.take(token) {
                return Ok(value);
            }
        }
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            _ => Err(self.error("a value")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, ParseError> {
        self.position += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take("]") {
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take("]") {
                return Ok(Json::Array(items));
            }
            if !self.take(",") {
                return Err(self.error("',' or ']'"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, ParseError> {
        self.position += 1;
        let mut entries = IndexMap::new();
        self.skip_space();
        if self.take("}") {
            return Ok(Json::Object(entries));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.error("a key in double quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            if !self.take(":") {
                return Err(self.error("':'"));
            }
            self.skip_space();
            let value = self.value(depth + 1)?;
            entries.insert(key, value);
            self.skip_space();
            if self.take("}") {
                return Ok(Json::Object(entries));
            }
            if !self.take(",") {
                return Err(self.error("',' or '}'"));
            }
        }
    }

    fn number(&mut self) -> Result<Json, ParseError> {
        let length = self
            .rest()
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest().len());
        let text = &self.rest()[..length];
        let integer = !text.contains(['.', 'e', 'E']);
        let value = match text.parse::<i64>() {
            Ok(value) if integer => Some(Json::Int(value)),
            _ => text.parse::<f64>().ok().map(Json::Float),
        };
        let value = value.ok_or_else(|| self.error_with(format!("{text:?} is not a number")))?;
        self.position += length;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.position += 1;
        let mut out = String::new();
        loop {
            let length = self.rest().find(['"', '\\']).unwrap_or(self.rest().len());
            out.push_str(&self.rest()[..length]);
            self.position += length;
            if self.take("\"") {
                return Ok(out);
            }
            if !self.take("\\") {
                return Err(self.error("'\"'"));
            }
            match self.peek() {
                Some(b'u') => {
                    self.position += 1;
                    out.push(self.unicode_escape()?);
                    continue;
                }
                Some(b'"') => out.push('"'),
                Some(b'\\') => out.push('\\'),
                Some(b'/') => out.push('/'),
                Some(b'n') => out.push('\n'),
                Some(b'r') => out.push('\r'),
                Some(b't') => out.push('\t'),
                Some(b'b') => out.push('\u{8}'),
                Some(b'f') => out.push('\u{c}'),
                _ => return Err(self.error("an escape such as \\n or \\u00e4")),
            }
            self.position += 1;
        }
    }

    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let first = self.hex4()?;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&first) && self.take("\\u") {
            let second = u32::from(self.hex4()?);
            // The wrapping makes a second unit that is no low surrogate an invalid code point.
            code = 0x10000 + ((code - 0xd800) << 10) + second.wrapping_sub(0xdc00).min(0x110000);
        }
        char::from_u32(code).ok_or_else(|| self.error_with("half of a surrogate pair".into()))
    }

    fn hex4(&mut self) -> Result<u16, ParseError> {
        let code = self.rest().get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.error("four hexadecimal digits"))?;
        self.position += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_as_python_prints_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (2.5e-7, "2.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (1.2f32 as f64, "1.2000000476837158"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn layout_is_that_of_json_dump_with_indent_4() {
        let value = Json::object([
            ("b", Json::from(vec![1, 2])),
            ("a", Json::object([("ä\n😀", Json::Float(f64::NAN))])),
            ("empty", Json::Array(vec![])),
            ("none", Json::object::<String>([])),
        ]);
        // json.dumps(value, indent=4)
        let kept = "{\n    \"b\": [\n        1,\n        2\n    ],\n    \"a\": {\n        \
                    \"\\u00e4\\n\\ud83d\\ude00\": NaN\n    },\n    \"empty\": [],\n    \"none\": {}\n}";
        assert_eq!(value.to_python(KeyOrder::Kept), kept);
        assert!(value.to_python(KeyOrder::Sorted).starts_with("{\n    \"a\": {"));
        let back = Json::parse(kept).unwrap();
        assert_eq!(back.to_python(KeyOrder::Kept), kept);
    }

    #[test]
    fn errors_say_where() {
        for (text, message) in [
            ("{\"a\": 1,\n  b: 2}", "line 2, column 3: found 'b', expected a key in double quotes"),
            ("[1, 2", "line 1, column 6: the document ends, expected ',' or ']'"),
            ("", "line 1, column 1: the document ends, expected a value"),
            ("{} x", "line 1, column 4: found 'x', expected the end of the document"),
            ("1-2", "line 1, column 1: \"1-2\" is not a number"),
            ("\"\\ud800\"", "line 1, column 8: half of a surrogate pair"),
            ("\"\\ud800\\u0041\"", "line 1, column 14: half of a surrogate pair"),
        ] {
            assert_eq!(Json::parse(text).unwrap_err().to_string(), message, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(Json::parse(&deep).unwrap_err().message.contains("128 levels"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            let _ = Json::parse(&text);
        }

        #[test]
        fn strings_and_floats_survive(text in ".{0,20}", bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let value = Json::Array(vec![text.into(), number.into()]);
            let back = Json::parse(&value.to_python(KeyOrder::Kept)).unwrap();
            prop_assert_eq!(back.as_array().unwrap()[0].clone(), value.as_array().unwrap()[0].clone());
            let read = back.as_array().unwrap()[1].as_f64().unwrap();
            prop_assert!(read == number || (read.is_nan() && number.is_nan()));
        }
    }
}
