//! Text forms inside pickles: decimal numbers, escapes of protocol 0, long integers.

use super::value::Value;

/// Most digits of a decimal integer (Python's own limit for conversions).
const MAX_DIGITS: usize = 4300;

/// An integer in two's complement, least significant byte first.
pub(super) fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut significant = bytes;
    // A last byte that only repeats the sign says nothing.
    while let [rest @ .., last] = significant {
        let sign_kept = rest.last().map_or(fill == 0, |b| (b & 0x80 != 0) == negative);
        if *last != fill || !sign_kept {
            break;
        }
        significant = rest;
    }
    if significant.len() > 8 {
        return Value::BigInt(significant.to_vec());
    }
    let mut wide = [fill; 8];
    wide[..significant.len()].copy_from_slice(significant);
    Value::Int(i64::from_le_bytes(wide))
}

/// A decimal integer of protocol 0: `12`, `12L`, or `00` and `01`, which are booleans.
pub(super) fn decimal(line: &[u8]) -> Option<Value> {
    match line {
        b"00" => return Some(Value::Bool(false)),
        b"01" => return Some(Value::Bool(true)),
        _ => {}
    }
    let text = std::str::from_utf8(line).ok()?.trim();
    let text = text.strip_suffix('L').unwrap_or(text);
    if let Ok(small) = text.parse::<i64>() {
        return Some(Value::Int(small));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u32::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (value, overflow) = (!*byte).overflowing_add(carry.into());
            (*byte, carry) = (value, overflow);
        }
    }
    Some(long(&bytes))
}

/// The number of a text memo instruction.
pub(super) fn memo_key(line: &[u8]) -> Option<u32> {
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// A string of Python 2: text where it is ASCII, else bytes.
pub(super) fn python2_string(bytes: Vec<u8>) -> Value {
    if bytes.is_ascii() {
        Value::Str(bytes.into_iter().map(char::from).collect())
    } else {
        Value::Bytes(bytes)
    }
}

/// Bytes of a quoted string of protocol 0 with Python's escapes.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'\\' {
            out.push(first);
            rest = tail;
            continue;
        }
        let (&code, tail) = tail.split_first()?;
        rest = tail;
        match code {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'\\' | b'\'' | b'"' => out.push(code),
            b'x' => {
                out.push(u8::try_from(hex(rest.get(..2)?)?).ok()?);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = std::iter::once(&code).chain(&rest[..more]);
                let value = digits.fold(0u32, |v, d| v * 8 + u32::from(d - b'0'));
                out.push(value as u8);
                rest = &rest[more..];
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(out)
}

/// Text of protocol 0: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    loop {
        let len = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            [first, tail @ ..] => {
                out.push(char::from(*first));
                rest = tail;
                continue;
            }
            [] => return Some(out),
        };
        out.push(char::from_u32(hex(rest.get(2..2 + len)?)?)?);
        rest = &rest[2 + len..];
    }
}

/// The beginning of some bytes, for messages.
pub(super) fn shown(bytes: &[u8]) -> String {
    let end = bytes.len().min(40);
    let dots = if end < bytes.len() { "..." } else { "" };
    format!("{:?}{dots}", String::from_utf8_lossy(&bytes[..end]))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_integers() {
        assert_eq!(long(&[]), Value::Int(0));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[0xff, 0]), Value::Int(255));
        assert_eq!(long(&[0, 0, 0, 0, 0, 0, 0, 0x80]), Value::Int(i64::MIN));
        assert_eq!(long(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0x80, 0]));
        assert_eq!(long(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Value::Int(5));
        assert_eq!(long(&[0xff; 12]), Value::Int(-1));
    }

    #[test]
    fn decimal_integers() {
        assert_eq!(decimal(b"01"), Some(Value::Bool(true)));
        assert_eq!(decimal(b"-12L"), Some(Value::Int(-12)));
        assert_eq!(decimal(b"9223372036854775808L"), Some(long(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0])));
        assert_eq!(
            decimal(b"-9223372036854775809"),
            Some(Value::BigInt(vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff]))
        );
        assert_eq!(decimal(b"1x2222222222222222222222"), None);
        assert_eq!(decimal("9".repeat(5000).as_bytes()), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(quoted(br"'a\n\x41\101\'\q'").unwrap(), b"a\nAA'\\q");
        assert_eq!(quoted(b"'a"), None);
        assert_eq!(quoted(br"'\x4'"), None);
        assert_eq!(raw_unicode_escape(br"a\u00e4\U0001f600\x").unwrap(), "a\u{e4}\u{1f600}\\x");
        assert_eq!(raw_unicode_escape(br"\ud800"), None);
    }
}
