//! What was typed, by flag; turned into typed requests by the commands.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::messages::UsageError;

/// The values given on the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Matches {
    values: HashMap<&'static str, Vec<String>>,
}

impl Matches {
    pub(super) fn insert(&mut self, key: &'static str, values: Vec<String>) {
        self.values.insert(key, values);
    }

    /// Whether the flag was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of a flag with one value, or of a positional argument.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.first().map(String::as_str)
    }

    /// All values of a flag; empty if it was not given.
    pub(crate) fn texts(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value as a path.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// The value of a flag that the verb cannot do without.
    pub(crate) fn required(&self, key: &str) -> Result<&str, UsageError> {
        self.text(key).ok_or_else(|| UsageError(format!("the argument {key} is required")))
    }

    /// The value parsed; `what` completes "expected ...".
    pub(crate) fn parsed<T: FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, UsageError> {
        self.text(key).map(|text| parse_value(key, text, what)).transpose()
    }

    /// The value as a whole number of at least 1.
    pub(crate) fn at_least_one(&self, key: &str) -> Result<Option<usize>, UsageError> {
        let what = "a number of at least 1";
        match self.parsed(key, what)? {
            Some(0) => Err(UsageError(format!("argument {key}: found 0, expected {what}"))),
            given => Ok(given),
        }
    }

    /// All values parsed; `what` completes "expected ...".
    pub(crate) fn all_parsed<T: FromStr>(&self, key: &str, what: &str) -> Result<Vec<T>, UsageError> {
        self.texts(key).iter().map(|text| parse_value(key, text, what)).collect()
    }
}

fn parse_value<T: FromStr>(key: &str, text: &str, what: &str) -> Result<T, UsageError> {
    text.parse().map_err(|_| UsageError(format!("argument {key}: found {text:?}, expected {what}")))
}
