//! Flags that every verb has besides `--help`.

use super::spec::{Flag, Group};

/// What is said about a run, and where.
pub(super) const COMMON: &[Flag] = &[
    Flag::switch(&["-v"], "a line for every step instead of a bar or a line now and then")
        .within(Group::General),
    Flag::switch(&["-vv"], "the same, each line with the time since the start and the memory in use")
        .within(Group::General),
    Flag::one(
        &["--log-file"],
        "FILE",
        "append every event, message and warning to this file, each line with the time",
    )
    .within(Group::General),
];
