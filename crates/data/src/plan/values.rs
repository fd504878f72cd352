//! Small readings of JSON values, shared by the parts of the plans file.

use indexmap::IndexMap;

use nnunet_pyformats::json::{Json, KeyOrder};

/// A JSON object: keys in the order of the file.
pub type Document = IndexMap<String, Json>;

/// A whole number from 0 to `maximum`.
pub(super) fn whole(value: &Json, maximum: usize) -> Option<usize> {
    value.as_i64().and_then(|v| usize::try_from(v).ok()).filter(|&v| v <= maximum)
}

/// The value on one line for a message, cut where it is long.
pub(super) fn shown(value: &Json) -> String {
    const LONGEST: usize = 80;
    let text = value.to_python(KeyOrder::Kept);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
