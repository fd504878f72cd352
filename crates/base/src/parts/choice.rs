//! A part's name with its options.

use serde_json::{Map, Value};

use super::Options;

/// A part's name with its options, as a recipe writes it: `{ kind = "focal", gamma = 2.0 }`, or just the name where
/// there are no options.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Name of the part.
    pub kind: String,
    /// Its options by name; those that are absent have their defaults.
    pub options: Map<String, Value>,
}

impl Choice {
    /// The part `kind` with default options.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), options: Map::new() }
    }

    /// The same with one more option.
    #[must_use]
    pub fn with(mut self, option: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.insert(option.into(), value.into());
        self
    }

    /// Reads a choice from a document: a name, or an object whose `kind` is the name. `None` for anything else.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(kind) => Some(Self::new(kind)),
            Value::Object(object) => {
                let mut options = object.clone();
                match options.shift_remove("kind")? {
                    Value::String(kind) => Some(Self { kind, options }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The document that [`Choice::from_value`] reads, always an object.
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind".to_owned(), Value::String(self.kind.clone()));
        object.extend(self.options.iter().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(object)
    }

    /// Whether this part, or one among its options however deep, is of the kind `kind`.
    pub fn mentions(&self, kind: &str) -> bool {
        fn is_within(value: &Value, kind: &str) -> bool {
            match value {
                Value::Array(values) => values.iter().any(|value| is_within(value, kind)),
                Value::Object(entries) => {
                    entries.get("kind").and_then(Value::as_str) == Some(kind)
                        || entries.values().any(|value| is_within(value, kind))
                }
                _ => false,
            }
        }
        is_within(&self.to_value(), kind)
    }

    /// Reader of the options; messages call them options of `what`, e.g. `loss focal`.
    pub fn reader(&self, what: impl Into<String>) -> Options<'_> {
        Options::new(what, &self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_back_from_documents() {
        let choice = Choice::new("focal").with("gamma", 2.0).with("weights", vec![1, 2]);
        assert_eq!(Choice::from_value(&choice.to_value()), Some(choice));
        assert_eq!(Choice::from_value(&Value::from("dice")), Some(Choice::new("dice")));
        assert_eq!(Choice::from_value(&Value::from(3)), None);
        assert_eq!(Choice::from_value(&serde_json::json!({"gamma": 2.0})), None);
    }
}
