//! The command line as data: one table of flags per verb gives the parser and the help page.
//!
//! The grammar is that of Python's argparse, because scripts written for the reference rely on it:
//! long options with one dash (`-step_size`), unambiguous prefixes (`--disable_p`), values attached
//! with `=` or directly (`-d4`), options that take several values until the next option, negative
//! numbers as values, `--` to end the options.

mod common;
mod help;
mod man;
mod matches;
mod parse;
mod spec;

/// Flags that every verb has.
pub(crate) const HELP: [&str; 2] = ["--help", "-h"];

#[cfg(test)]
pub(crate) use help::EXIT_STATUSES;
pub(crate) use help::{Example, command_help, program_help};
pub(crate) use man::{command_page, program_page};
pub(crate) use matches::Matches;
pub(crate) use parse::parse;
pub(crate) use spec::{Arity, Command, Flag, Group, Positional};
