//! What a verb takes: its flags and positional arguments.

use super::common::COMMON;

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

/// What a flag is about; the titles of the help page, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Where the data comes from.
    Input,
    /// Where results go, and which.
    Output,
    /// What is computed.
    Method,
    /// How fast, and with how much memory.
    Speed,
    /// What every verb has: folders, progress.
    General,
}

impl Group {
    /// Every group in the order of the page.
    pub(crate) const ALL: [Self; 5] = [Self::Input, Self::Output, Self::Method, Self::Speed, Self::General];

    /// The title above its flags.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::Output => "Output",
            Self::Method => "Method",
            Self::Speed => "Speed and memory",
            Self::General => "General",
        }
    }
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
    /// Where it stands on the help page.
    pub(crate) group: Group,
    /// What the usage line says of it, if the verb cannot do without it; with alternatives in parentheses.
    pub(crate) usage: Option<&'static str>,
}

impl Flag {
    /// A flag without value.
    pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Self {
        Self { names, arity: Arity::Switch, value: "", help, group: Group::Method, usage: None }
    }

    /// A flag with one value.
    pub(crate) const fn one(names: &'static [&'static str], value: &'static str, help: &'static str) -> Self {
        Self { names, arity: Arity::One, value, help, group: Group::Method, usage: None }
    }

    /// A flag with one or more values.
    pub(crate) const fn many(
        names: &'static [&'static str],
        value: &'static str,
        help: &'static str,
    ) -> Self {
        Self { names, arity: Arity::Many, value, help, group: Group::Method, usage: None }
    }

    /// The flag among those of another group.
    pub(crate) const fn within(self, group: Group) -> Self {
        Self { group, ..self }
    }

    /// A flag that has to be given: `usage` is what the usage line says.
    pub(crate) const fn required(self, usage: &'static str) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// The flag with its value, as the help page lists it.
    pub(crate) fn synopsis(&self) -> String {
        let names = self.names.join(", ");
        match self.arity {
            Arity::Switch => names,
            Arity::One => format!("{names} {}", self.value),
            Arity::Many => format!("{names} {} ...", self.value),
        }
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

    /// The arguments behind the verb: what has to be given, and that there is more.
    pub(crate) fn usage(&self) -> String {
        let required = self.all_flags().filter_map(|flag| flag.usage);
        let positionals = self.positionals.iter().map(|positional| positional.name);
        let more = (self.all_flags().any(|flag| flag.usage.is_none())).then_some("[options]");
        let words: Vec<&str> =
            [self.verb].into_iter().chain(positionals).chain(required).chain(more).collect();
        words.join(" ")
    }

    /// The groups that have flags, each with them, in the order of the page.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Group, Vec<&'static Flag>)> {
        let of = |group| (group, self.all_flags().filter(|flag| flag.group == group).collect());
        Group::ALL.map(of).into_iter().filter(|(_, flags): &(_, Vec<_>)| !flags.is_empty())
    }

    /// Every flag of the verb.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|group| group.iter()).chain(COMMON)
    }
}
