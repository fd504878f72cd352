//! The parser.

use indexmap::IndexMap;

use super::Json;

/// Objects in objects deeper than this are refused: no file of nnU-Net comes near.
const MAX_DEPTH: usize = 128;

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
    use super::super::KeyOrder;
    use super::*;
    use proptest::prelude::*;

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
