//! Metrics beyond the reference's, by name.

use std::sync::Arc;

use nnunet_pyformats::json::Json;

/// Additional metrics of one class, of one case or averaged: only those that were asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AddedMetrics(Vec<(Arc<str>, f64)>);

impl AddedMetrics {
    /// Metrics with their keys in summary.json.
    pub fn from_entries<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, f64)>) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Keys and values, in the order in which they were asked for; from a file in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(key, value)| (&**key, *value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| **known == *key).map(|(_, value)| *value)
    }

    /// All numbers of `json` but those called `known`.
    pub(super) fn from_json(json: &Json, known: &[&str]) -> Self {
        let entries = json.as_object().into_iter().flatten();
        let added = entries.filter(|(key, _)| !known.contains(&key.as_str()));
        Self(added.filter_map(|(key, value)| Some((key.as_str().into(), value.as_f64()?))).collect())
    }

    /// The mean of each metric that all of `all` have, taken by `mean`.
    pub(super) fn mean<'a>(all: impl Iterator<Item = &'a Self> + Clone, mean: fn(&[f64]) -> f64) -> Self {
        let Some(first) = all.clone().next() else { return Self::default() };
        let means = first.0.iter().filter_map(|(key, _)| {
            let values: Option<Vec<f64>> = all.clone().map(|added| added.get(key)).collect();
            Some((key.clone(), mean(&values?)))
        });
        Self(means.collect())
    }
}
