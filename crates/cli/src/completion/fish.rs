//! The script for fish.

use super::{Completions, Values, short};
use crate::flags::{Arity, Command, Flag};

/// The script.
pub(super) fn script(completions: &Completions<'_>) -> String {
    let mut text = "# Completion of nnunet for fish, written by `nnunet completions fish`.\n\
                    complete -c nnunet -n __fish_use_subcommand -f -l help -d 'show the help page'\n\
                    complete -c nnunet -n __fish_use_subcommand -f -l version -d 'show the version'\n"
        .to_owned();
    for command in completions.commands {
        let (verb, summary) = (command.verb, quoted(command.summary));
        text.push_str(&format!("complete -c nnunet -n __fish_use_subcommand -f -a {verb} -d {summary}\n"));
        let condition = format!("-c nnunet -n '__fish_seen_subcommand_from {verb}'");
        of_command(completions, command, &condition, &mut text);
        for name in command.reference_names {
            of_command(completions, command, &format!("-c {name}"), &mut text);
        }
    }
    text
}

/// The lines for the flags and arguments of a verb; `begin` says when they hold.
fn of_command(completions: &Completions<'_>, command: &Command, begin: &str, text: &mut String) {
    for flag in command.all_flags() {
        text.push_str(&format!("complete {begin} {}", names(flag)));
        if flag.arity != Arity::Switch {
            text.push_str(&action(&completions.values(flag.value), " -r"));
        }
        text.push_str(&format!(" -d {}\n", quoted(short(flag.help))));
    }
    text.push_str(&format!("complete {begin} -l help -d 'show the help page'\n"));
    match completions.of_positionals(command) {
        Values::Unknown => {}
        values => text.push_str(&format!("complete {begin}{}\n", action(&values, ""))),
    }
}

/// The spellings of a flag: `-d` is short, `-device` an old-style long one.
fn names(flag: &Flag) -> String {
    let spelling = |name: &&str| match name.strip_prefix("--") {
        Some(long) => format!("-l {long}"),
        None if name.len() == 2 => format!("-s {}", &name[1..]),
        None => format!("-o {}", &name[1..]),
    };
    flag.names.iter().map(spelling).collect::<Vec<_>>().join(" ")
}

/// What offers the values; `required` asks for one.
fn action(values: &Values, required: &str) -> String {
    match values {
        Values::Files => format!("{required} -F"),
        Values::Folders => format!("{required} -f -a '(__fish_complete_directories)'"),
        Values::Words(words) => format!("{required} -f -a {}", quoted(&words.join(" "))),
        Values::Unknown => format!("{required} -f"),
    }
}

/// A string of fish.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
