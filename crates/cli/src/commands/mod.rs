//! The verbs, one file each: the table of flags, and the way from what was typed to a stage's request.

mod accumulate_crossval_results;
mod apply_postprocessing;
mod dataset_flags;
mod demo;
mod determine_postprocessing;
mod ensemble;
mod evaluate;
mod export_model;
mod find_best_configuration;
mod fingerprint;
mod install_links;
mod install_model;
mod models;
pub(crate) mod network_flags;
mod plan;
mod plan_and_preprocess;
mod predict;
mod preprocess;
mod train;
mod verify;

use crate::flags::{Command, Matches};
use crate::session::Session;

/// A verb with what it does.
pub(crate) struct Entry {
    /// Its flags.
    pub(crate) spec: Command,
    /// What it does.
    pub(crate) run: fn(&Matches, &Session) -> anyhow::Result<()>,
}

/// Every verb, in the order of the main job.
const ENTRIES: &[Entry] = &[
    demo::ENTRY,
    verify::ENTRY,
    fingerprint::ENTRY,
    plan::ENTRY,
    preprocess::ENTRY,
    plan_and_preprocess::ENTRY,
    train::ENTRY,
    predict::ENTRY,
    ensemble::ENTRY,
    evaluate::ENTRY,
    accumulate_crossval_results::ENTRY,
    find_best_configuration::ENTRY,
    determine_postprocessing::ENTRY,
    apply_postprocessing::ENTRY,
    models::ENTRY,
    install_model::ENTRY,
    export_model::ENTRY,
    install_links::ENTRY,
];

/// The tables of all verbs.
pub(crate) fn all() -> Vec<&'static Command> {
    ENTRIES.iter().map(|entry| &entry.spec).collect()
}

/// The verb `verb`.
pub(crate) fn by_verb(verb: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.spec.verb == verb)
}

/// The verb that does what the reference's program `name` does.
pub(crate) fn by_reference_name(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.spec.reference_names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ENTRIES
            .iter()
            .flat_map(|e| e.spec.reference_names.iter().copied().chain([e.spec.verb]))
            .collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for entry in ENTRIES {
            let mut flags: Vec<&str> = entry.spec.all_flags().flat_map(|f| f.names.iter().copied()).collect();
            flags.sort_unstable();
            let before = flags.len();
            flags.dedup();
            assert_eq!(flags.len(), before, "flags of {}", entry.spec.verb);
        }
    }
}
