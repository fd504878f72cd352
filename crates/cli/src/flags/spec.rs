//! What a verb takes: its flags and positional arguments.

/// How many values follow a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// None: the flag is a switch.
    Switch,
    /// Exactly one.
    One,
    /// At least one, up to the next flag.
    Many,
}

/// One flag of a verb.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Spellings with their dashes, the one shown first in front. Reference flags keep theirs.
    pub(crate) names: &'static [&'static str],
    /// Number of values.
    pub(crate) arity: Arity,
    /// Placeholder of the value in the help page; empty for a switch.
    pub(crate) value: &'static str,
    /// One or two sentences.
    pub(crate) help: &'static str,
}

impl Flag {
    /// A flag without value.
    pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Self {
        Self { names, arity: Arity::Switch, value: "", help }
    }

    /// A flag with one value.
    pub(crate) const fn one(names: &'static [&'static str], value: &'static str, help: &'static str) -> Self {
        Self { names, arity: Arity::One, value, help }
    }

    /// A flag with one or more values.
    pub(crate) const fn many(
        names: &'static [&'static str],
        value: &'static str,
        help: &'static str,
    ) -> Self {
        Self { names, arity: Arity::Many, value, help }
    }

    /// The name by which [`super::Matches`] is asked: the first spelling.
    pub(crate) fn key(&self) -> &'static str {
        self.names[0]
    }
}

/// A positional argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positional {
    /// Name in the usage line, and the key in [`super::Matches`]; in brackets if it may be left out.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) help: &'static str,
}

impl Positional {
    /// Whether it has to be given.
    pub(crate) fn is_required(&self) -> bool {
        !self.name.starts_with('[')
    }
}

/// A verb of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// `nnunet VERB`.
    pub(crate) verb: &'static str,
    /// Names of the reference's programs that do the same.
    pub(crate) reference_names: &'static [&'static str],
    /// One line for the list of verbs.
    pub(crate) summary: &'static str,
    /// More for its own help page.
    pub(crate) description: &'static str,
    /// What to do after an interruption, behind what the library says about it.
    pub(crate) after_interruption: &'static str,
    /// Positional arguments in order.
    pub(crate) positionals: &'static [Positional],
    /// Groups of flags, shown in order.
    pub(crate) flags: &'static [&'static [Flag]],
}

impl Command {
    /// After an interruption of a verb that leaves nothing to go on from.
    pub(crate) const START_AGAIN: &'static str = "run the command again";
    /// After an interruption of a verb that keeps what is finished.
    pub(crate) const RESUME: &'static str = "rerun the command to resume";

    /// Every flag of the verb.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().flat_map(|group| group.iter())
    }
}
