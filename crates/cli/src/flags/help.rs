//! Help pages from the tables.

use super::spec::Command;

const WIDTH: usize = 100;
const INDENT: usize = 32;

/// A command line with what it does, for the end of a help page.
pub(crate) type Example = (&'static str, &'static str);

/// What the exit statuses mean.
pub(crate) const EXIT_STATUSES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "failed; the last line on stderr says what went wrong and what to do"),
    ("2", "wrong usage: an unknown verb or argument, or a missing one"),
    ("130", "interrupted (Ctrl-C, SIGTERM); what was finished is saved where the verb can resume"),
];

/// The page of `nnunet --help`; `environment` lists the variables.
pub(crate) fn program_help(commands: &[&Command], environment: &[(&str, &str)]) -> String {
    let mut page = String::from(
        "nnunet: self-configuring medical image segmentation (nnU-Net v2) in one native program\n\n\
         Usage: nnunet VERB [arguments]\n       nnunet VERB --help\n\nVerbs:\n",
    );
    for command in commands {
        push_row(&mut page, command.verb, command.summary);
    }
    page.push('\n');
    push_wrapped(
        &mut page,
        "Verbs that exist in the Python nnU-Net also answer to their nnUNetv2_* names; nnunet install-links DIR \
         creates links with these names.",
        0,
    );
    page.push_str("\nOptions:\n");
    push_row(&mut page, "-h, --help", "show this page; behind a verb, the help page of the verb");
    push_row(&mut page, "-V, --version", "show version, commit, CPU level and devices");
    page.push_str("\nExit status:\n");
    for (status, meaning) in EXIT_STATUSES {
        push_row(&mut page, status, meaning);
    }
    page.push_str("\nEnvironment:\n");
    for (name, help) in environment {
        push_row(&mut page, name, help);
    }
    page
}

/// The page of `nnunet VERB --help`.
pub(crate) fn command_help(command: &Command, examples: &[Example]) -> String {
    let mut page = String::new();
    push_wrapped(&mut page, &format!("Usage: nnunet {}", command.usage()), 14);
    page.push('\n');
    push_wrapped(&mut page, command.description, 0);
    if !command.reference_names.is_empty() {
        push_wrapped(&mut page, &format!("Also called {}.", command.reference_names.join(", ")), 0);
    }
    if !command.positionals.is_empty() {
        page.push_str("\nArguments:\n");
        for positional in command.positionals {
            push_row(&mut page, positional.name, positional.help);
        }
    }
    for (group, flags) in command.groups() {
        page.push_str(&format!("\n{}:\n", group.title()));
        for flag in flags {
            push_row(&mut page, &flag.synopsis(), flag.help);
        }
    }
    if !examples.is_empty() {
        page.push_str("\nExamples:\n");
        for (line, what) in examples {
            page.push_str(&format!("  nnunet {line}\n"));
            page.push_str("      ");
            push_wrapped(&mut page, what, 6);
        }
    }
    page
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
