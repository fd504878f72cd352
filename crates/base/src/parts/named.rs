//! The parts of one kind by name.

use indexmap::IndexMap;

use crate::spelling::{closest, closest_first};

/// The parts of one kind by name, in the order of their registration.
#[derive(Debug, Clone)]
pub struct Named<T> {
    kind: &'static str,
    entries: IndexMap<String, Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    summary: String,
    part: T,
}

impl<T> Named<T> {
    /// No parts yet. `kind` is what one of them is called in messages, e.g. `loss`.
    pub fn new(kind: &'static str) -> Self {
        Self { kind, entries: IndexMap::new() }
    }

    /// What one of the parts is called in messages.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Adds `part` as `name`; `summary` is one line for lists.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] where the name is taken; the part that has it stays.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        summary: impl Into<String>,
        part: T,
    ) -> Result<(), AlreadyRegistered> {
        let name = name.into();
        if self.entries.contains_key(&name) {
            return Err(AlreadyRegistered { kind: self.kind, name });
        }
        self.entries.insert(name, Entry { summary: summary.into(), part });
        Ok(())
    }

    /// Adds a part that is built in.
    ///
    /// # Panics
    /// Where the name is taken, which is a mistake in the program and not in its input.
    #[must_use]
    pub fn with(mut self, name: &str, summary: &str, part: T) -> Self {
        assert!(self.register(name, summary, part).is_ok(), "two built-in parts are called {name}");
        self
    }

    /// The part called `name`.
    ///
    /// # Errors
    /// [`UnknownName`] with the names that exist, closest first.
    pub fn get(&self, name: &str) -> Result<&T, UnknownName> {
        match self.entries.get(name) {
            Some(entry) => Ok(&entry.part),
            None => Err(self.unknown(name)),
        }
    }

    /// Whether there is a part called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The error for a name that is not here, for callers with a rule of their own on names.
    pub fn unknown(&self, name: &str) -> UnknownName {
        let known = closest_first(name, self.names());
        UnknownName {
            kind: self.kind,
            name: name.to_owned(),
            closest: closest(name, self.names()).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }

    /// All names, in the order of their registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Name, summary and part of each, in the order of their registration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &T)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.summary.as_str(), &entry.part))
    }
}

/// A name that no part of this kind has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {name:?} is not known{suggestion}; known: {known}",
    suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
    known = known.join(", ")
)]
pub struct UnknownName {
    /// What was looked for, e.g. `loss`.
    pub kind: &'static str,
    /// The name as given.
    pub name: String,
    /// The known name that was probably meant, if one resembles it.
    pub closest: Option<String>,
    /// All known names, closest first.
    pub known: Vec<String>,
}

/// A name that a part of this kind has already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is a {kind} called {name:?} already: register yours under another name")]
pub struct AlreadyRegistered {
    /// What was to be registered, e.g. `loss`.
    pub kind: &'static str,
    /// The name that is taken.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses() -> Named<u8> {
        Named::new("loss").with("dice", "soft Dice", 1).with("focal", "focal cross-entropy", 2)
    }

    #[test]
    fn parts_are_found_by_name_and_listed_in_order() {
        let mut losses = losses();
        losses.register("mine", "my own", 3).unwrap();
        assert_eq!(losses.get("mine"), Ok(&3));
        let all: Vec<_> = losses.iter().map(|(name, summary, part)| (name, summary, *part)).collect();
        assert_eq!(
            all,
            [("dice", "soft Dice", 1), ("focal", "focal cross-entropy", 2), ("mine", "my own", 3)]
        );
    }

    #[test]
    fn unknown_names_list_the_known_ones_closest_first() {
        let error = losses().get("fokal").unwrap_err();
        assert_eq!(
            error.to_string(),
            "loss \"fokal\" is not known (did you mean focal?); known: focal, dice"
        );
        let far = losses().get("something else").unwrap_err();
        assert_eq!(far.closest, None);
    }

    #[test]
    fn a_name_is_given_once() {
        let mut losses = losses();
        let error = losses.register("dice", "another", 9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is a loss called \"dice\" already: register yours under another name"
        );
        assert_eq!(losses.get("dice"), Ok(&1));
    }
}
