//! Values that know why they are what they are, and the content of a plans file made of them.

use indexmap::IndexMap;

use nnunet_pyformats::json::Json;

/// A value with what it follows from and the rule by which it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided<T> {
    /// The value.
    pub value: T,
    /// What it follows from: values of the fingerprint or of dataset.json, options, values decided before.
    pub source: String,
    /// How it follows, in words.
    pub rule: String,
}

impl<T> Decided<T> {
    /// `value`, which follows from `source` by `rule`.
    pub fn new(value: T, source: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { value, source: source.into(), rule: rule.into() }
    }

    /// Another form of the value, for the same reason.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Decided<U> {
        Decided { value: form(self.value), source: self.source, rule: self.rule }
    }
}

/// An entry of a plans file.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A value.
    Value(Decided<Json>),
    /// An object whose entries are decided one by one.
    Object(Decisions),
    /// The same where it is a decision of its own which entries there are, such as the configurations.
    Choice(Decided<Decisions>),
}

/// The content of a plans file, or of an object in it: each entry with the reason for it, in the order of the file.
///
/// ```
/// use nnunet_data::plan::{Decided, Decisions};
///
/// let batch_size = Decided::new(2usize, "8 GB of memory", "as many patches as fit");
/// let configuration = Decisions::new().value("batch_size", batch_size);
/// assert_eq!(configuration.to_json().get("batch_size"), Some(&2usize.into()));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decisions(IndexMap<String, Decision>);

impl Decisions {
    /// No entries yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn value<T: Into<Json>>(self, key: impl Into<String>, value: Decided<T>) -> Self {
        self.with(key, Decision::Value(value.map(Into::into)))
    }

    /// Adds an object whose entries are decided one by one.
    #[must_use]
    pub fn object(self, key: impl Into<String>, entries: Decisions) -> Self {
        self.with(key, Decision::Object(entries))
    }

    /// Adds an object of which it is a decision of its own which entries it has.
    #[must_use]
    pub fn choice(self, key: impl Into<String>, entries: Decided<Decisions>) -> Self {
        self.with(key, Decision::Choice(entries))
    }

    fn with(mut self, key: impl Into<String>, decision: Decision) -> Self {
        self.0.insert(key.into(), decision);
        self
    }

    /// The entry `key`.
    pub fn get(&self, key: &str) -> Option<&Decision> {
        self.0.get(key)
    }

    /// The entry at the end of `path`, to decide it otherwise.
    pub fn get_mut(&mut self, path: &[&str]) -> Option<&mut Decision> {
        let (key, rest) = path.split_first()?;
        match (self.0.get_mut(*key)?, rest) {
            (decision, []) => Some(decision),
            (Decision::Value(_), _) => None,
            (Decision::Object(entries) | Decision::Choice(Decided { value: entries, .. }), rest) => {
                entries.get_mut(rest)
            }
        }
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The values without their reasons.
    pub fn to_json(&self) -> Json {
        Json::object(self.0.iter().map(|(key, decision)| (key.as_str(), decision.to_json())))
    }
}

impl Decision {
    /// The entries, if this is an object with decisions of its own.
    pub fn entries(&self) -> Option<&Decisions> {
        match self {
            Self::Value(_) => None,
            Self::Object(entries) | Self::Choice(Decided { value: entries, .. }) => Some(entries),
        }
    }

    /// The value without its reason.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Value(decided) => decided.value.clone(),
            Self::Object(entries) | Self::Choice(Decided { value: entries, .. }) => entries.to_json(),
        }
    }
}
