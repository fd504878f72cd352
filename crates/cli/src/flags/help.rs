//! Help pages from the tables.

use super::spec::{Arity, Command, Flag};

const WIDTH: usize = 100;
const INDENT: usize = 32;

/// The page of `nnunet --help`.
pub(crate) fn program_help(commands: &[&Command]) -> String {
    let mut page = String::from(
        "nnunet: self-configuring medical image segmentation (nnU-Net v2) in one native program\n\n\
         usage: nnunet VERB [arguments]     nnunet VERB --help shows a verb's arguments\n\nverbs:\n",
    );
    for command in commands {
        push_row(&mut page, command.verb, command.summary);
    }
    page.push_str(
        "\nEvery verb also answers to its nnUNetv2_* name (nnunet install-links DIR makes the links).\n\
         other: --version, --help\n",
    );
    page
}

/// The page of `nnunet VERB --help`.
pub(crate) fn command_help(command: &Command) -> String {
    let mut page = format!("usage: nnunet {}", command.verb);
    for positional in command.positionals {
        page.push(' ');
        page.push_str(positional.name);
    }
    page.push_str(" [options]\n\n");
    push_wrapped(&mut page, command.description, 0);
    if !command.reference_names.is_empty() {
        push_wrapped(&mut page, &format!("Also called {}.", command.reference_names.join(", ")), 0);
    }
    if !command.positionals.is_empty() {
        page.push_str("\narguments:\n");
        for positional in command.positionals {
            push_row(&mut page, positional.name, positional.help);
        }
    }
    for group in command.flags.iter().filter(|group| !group.is_empty()) {
        page.push_str("\noptions:\n");
        for flag in *group {
            push_row(&mut page, &synopsis(flag), flag.help);
        }
    }
    page
}

fn synopsis(flag: &Flag) -> String {
    let names = flag.names.join(", ");
    match flag.arity {
        Arity::Switch => names,
        Arity::One => format!("{names} {}", flag.value),
        Arity::Many => format!("{names} {} ...", flag.value),
    }
}

fn push_row(page: &mut String, left: &str, right: &str) {
    let left = format!("  {left}");
    if left.len() + 2 > INDENT {
        page.push_str(&left);
        page.push('\n');
        page.push_str(&" ".repeat(INDENT));
    } else {
        page.push_str(&format!("{left:INDENT$}"));
    }
    push_wrapped(page, right, INDENT);
}

/// Words of `text` in lines of at most [`WIDTH`] characters; lines after the first are indented.
fn push_wrapped(page: &mut String, text: &str, indent: usize) {
    let mut column = indent;
    for (i, word) in text.split_whitespace().enumerate() {
        if i > 0 && column + 1 + word.len() > WIDTH {
            page.push('\n');
            page.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            page.push(' ');
            column += 1;
        }
        page.push_str(word);
        column += word.len();
    }
    page.push('\n');
}
