//! Python's `dict` as data.

use super::value::Value;

/// A `dict` with keys of any kind, in insertion order. Of two equal keys the later one counts.
#[derive(Debug, Clone, Default)]
pub struct Dict {
    entries: Vec<(Value, Value)>,
}

/// Equal as Python dicts are: whatever the order of the entries.
impl PartialEq for Dict {
    fn eq(&self, other: &Self) -> bool {
        let contained = |a: &Dict, b: &Dict| a.entries.iter().all(|(k, _)| a.get_key(k) == b.get_key(k));
        self.entries == other.entries || (contained(self, other) && contained(other, self))
    }
}

impl Dict {
    /// An empty dict.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry without looking for an equal key (lookups find the latest).
    pub fn push(&mut self, key: Value, value: Value) {
        self.entries.push((key, value));
    }

    /// Sets the entry of a string key.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().rev().find(|(k, _)| k.as_str() == Some(key)) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((Value::Str(key.to_owned()), value)),
        }
    }

    /// The value of a string key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    /// The value of a key of any kind.
    pub fn get_key(&self, key: &Value) -> Option<&Value> {
        self.entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Takes a string key out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().rposition(|(k, _)| k.as_str() == Some(key))?;
        Some(self.entries.remove(at).1)
    }

    /// Entries in insertion order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Value, Value)> {
        self.entries.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Dict {
    type Item = (Value, Value);
    type IntoIter = std::vec::IntoIter<(Value, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl FromIterator<(Value, Value)> for Dict {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_equal_keys_counts() {
        let mut dict = Dict::new();
        dict.push("a".into(), 1i64.into());
        dict.push("a".into(), 2i64.into());
        assert_eq!(dict.get("a").and_then(Value::as_i64), Some(2));
        dict.insert("a", 3i64);
        assert_eq!(dict.get("a").and_then(Value::as_i64), Some(3));
    }

    #[test]
    fn dicts_are_equal_in_any_order() {
        let dict = |pairs: [(&str, i64); 2]| Dict::from_iter(pairs.map(|(k, v)| (k.into(), v.into())));
        assert_eq!(dict([("a", 1), ("b", 2)]), dict([("b", 2), ("a", 1)]));
        assert_ne!(dict([("a", 1), ("b", 2)]), dict([("b", 1), ("a", 1)]));
    }
}
