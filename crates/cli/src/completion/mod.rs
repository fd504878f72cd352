//! Completion scripts for shells, from the tables of flags: verbs, flags, and values where they are known.

mod bash;
mod fish;
mod powershell;
mod zsh;

use nnunet::Registry;

use crate::commands::PRECISIONS;
use crate::flags::{Arity, Command, Flag};
use crate::progress::Style;

/// Makes the script for a shell.
type Script = fn(&Completions<'_>) -> String;

/// The shells, each with what makes its script.
pub(crate) const SHELLS: [(&str, Script); 4] = [
    ("bash", bash::script),
    ("zsh", zsh::script),
    ("fish", fish::script),
    ("powershell", powershell::script),
];

/// What is completed.
pub(crate) struct Completions<'a> {
    /// The verbs with their flags.
    pub(crate) commands: &'a [&'static Command],
    /// The parts that can be named.
    pub(crate) registry: &'a Registry,
}

/// What may stand behind a flag, or for a positional argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// Names of files and folders.
    Files,
    /// Names of folders.
    Folders,
    /// One of these words.
    Words(Vec<String>),
    /// Something else.
    Unknown,
}

impl Completions<'_> {
    /// The values that a placeholder of the help page stands for.
    fn values(&self, placeholder: &str) -> Values {
        let words = |words: &[&str]| Values::Words(words.iter().map(|&word| word.to_owned()).collect());
        let parts = self.registry;
        match placeholder.trim_matches(['[', ']']) {
            "FILE" | "INPUT" | "SOURCE" => Values::Files,
            "FOLDER" | "DIR" | "GT" | "PRED" => Values::Folders,
            "DEVICE" => words(&parts.devices.names().chain([nnunet::backend::AUTO]).collect::<Vec<_>>()),
            "PRECISION" => words(&PRECISIONS.map(|(name, _)| name)),
            "STYLE" => words(&Style::ALL.map(|(name, _)| name)),
            "TRAINER" => words(&parts.recipes.names().collect::<Vec<_>>()),
            "PLANNER" => words(&parts.data.planners.names().collect::<Vec<_>>()),
            "LIST" => words(&parts.metrics.names().collect::<Vec<_>>()),
            "CONFIGURATION" => words(&["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]),
            "FOLD" => words(&["0", "1", "2", "3", "4", "all"]),
            "SHELL" => words(&SHELLS.map(|(name, _)| name)),
            "VERB" => words(&self.commands.iter().map(|command| command.verb).collect::<Vec<_>>()),
            _ => Values::Unknown,
        }
    }

    /// The values of the positional arguments of a verb, all of them together: which one is meant is not known.
    fn of_positionals(&self, command: &Command) -> Values {
        let mut words = Vec::new();
        for positional in command.positionals {
            match self.values(positional.name) {
                Values::Words(more) => words.extend(more),
                Values::Unknown => {}
                paths => return paths,
            }
        }
        if words.is_empty() { Values::Unknown } else { Values::Words(words) }
    }

    /// Every name by which the program is called through a link, with its verb.
    fn links(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.commands
            .iter()
            .flat_map(|command| command.reference_names.iter().map(|&name| (name, command.verb)))
    }
}

/// Every spelling of every flag of a verb, and of the help page.
fn spellings(command: &Command) -> impl Iterator<Item = &'static str> {
    command.all_flags().flat_map(|flag| flag.names.iter().copied()).chain(["--help"])
}

/// The flags of a verb that take values, with those.
fn valued(completions: &Completions<'_>, command: &Command) -> Vec<(&'static Flag, Values)> {
    let flags = command.all_flags().filter(|flag| flag.arity != Arity::Switch);
    flags.map(|flag| (flag, completions.values(flag.value))).collect()
}

/// The cases of bash and zsh that put a verb in the place of a link's name.
fn link_cases(completions: &Completions<'_>) -> String {
    completions.links().map(|(name, verb)| format!("        {name}) verb={verb} ;;\n")).collect()
}

/// The cases of bash and zsh for `VERB:FLAG:DISTANCE`, the flag before the cursor and how far away it is. `action` is the command
/// that offers values.
fn value_cases(completions: &Completions<'_>, action: fn(&Values) -> String) -> String {
    let mut text = String::new();
    for command in completions.commands {
        for (flag, values) in valued(completions, command) {
            let distance = if flag.arity == Arity::One { "1" } else { "*" };
            let patterns: Vec<String> =
                flag.names.iter().map(|name| format!("{}:{name}:{distance}", command.verb)).collect();
            text.push_str(&format!("        {}) {} ;;\n", patterns.join("|"), action(&values)));
        }
        let values = completions.of_positionals(command);
        text.push_str(&format!("        {}:*) {} ;;\n", command.verb, action(&values)));
    }
    text
}

/// The first clause of a help text, for a list.
fn short(help: &str) -> &str {
    let ends = [";", ": ", " (", ". "].into_iter().filter_map(|end| help.find(end));
    &help[..ends.min().unwrap_or(help.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_the_registry_and_the_tables() {
        let registry = Registry::default();
        let commands = crate::commands::all();
        let completions = Completions { commands: &commands, registry: &registry };
        let Values::Words(trainers) = completions.values("[TRAINER]") else { panic!("words") };
        assert!(trainers.iter().any(|name| name == "nnUNetTrainerDA5"));
        let Values::Words(devices) = completions.values("DEVICE") else { panic!("words") };
        assert!(
            ["cpu", "auto"].iter().all(|name| devices.iter().any(|device| device == name)),
            "{devices:?}"
        );
        assert_eq!(completions.values("GB"), Values::Unknown);
        assert_eq!(short("folds to average over: numbers or all (default: all)"), "folds to average over");
    }

    #[test]
    fn every_script_names_every_verb_and_flag() {
        let registry = Registry::default();
        let commands = crate::commands::all();
        let completions = Completions { commands: &commands, registry: &registry };
        for (shell, script) in SHELLS {
            let text = script(&completions);
            for command in &commands {
                assert!(text.contains(command.verb), "{shell}: {}", command.verb);
                for spelling in command.all_flags().flat_map(|flag| flag.names) {
                    assert!(text.contains(spelling.trim_start_matches('-')), "{shell}: {spelling}");
                }
            }
        }
    }
}
