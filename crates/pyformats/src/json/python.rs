//! The text that Python's `json` module writes.

use std::fmt::Write as _;

use super::{Json, KeyOrder};

impl Json {
    /// The text that `json.dump(..., indent=4)` writes.
    pub fn to_python(&self, order: KeyOrder) -> String {
        let mut out = String::new();
        self.write(&mut out, order, 0);
        out
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
