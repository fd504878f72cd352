//! Manual pages (roff) from the tables.

use super::help::{EXIT_STATUSES, Example};
use super::spec::Command;

/// The page of the program; `environment` lists the variables.
pub(crate) fn program_page(commands: &[&Command], environment: &[(&str, &str)]) -> String {
    let mut page = beginning("nnunet", "self-configuring medical image segmentation (nnU-Net v2)");
    page.push_str(".SH SYNOPSIS\n.B nnunet\n.I VERB\n[arguments]\n");
    page.push_str(".SH DESCRIPTION\n");
    push_text(
        &mut page,
        "nnU-Net v2 in one native program. Each verb has a page of its own, nnunet-VERB(1), and the help page nnunet VERB \
         --help. Verbs that exist in the Python nnU-Net also answer to their nnUNetv2_* names.",
    );
    page.push_str(".SH VERBS\n");
    for command in commands {
        push_item(&mut page, command.verb, command.summary);
    }
    page.push_str(".SH EXIT STATUS\n");
    for (status, meaning) in EXIT_STATUSES {
        push_item(&mut page, status, meaning);
    }
    page.push_str(".SH ENVIRONMENT\n");
    for (name, help) in environment {
        push_item(&mut page, name, help);
    }
    page.push_str(".SH SEE ALSO\n");
    let pages: Vec<String> = commands
        .iter()
        .map(|command| format!(".BR {} (1)", escaped(&format!("nnunet-{}", command.verb))))
        .collect();
    page.push_str(&pages.join(",\n"));
    page.push('\n');
    page
}

/// The page of a verb.
pub(crate) fn command_page(command: &Command, examples: &[Example]) -> String {
    let mut page = beginning(&format!("nnunet-{}", command.verb), command.summary);
    page.push_str(".SH SYNOPSIS\n");
    page.push_str(&format!(".B nnunet {}\n", escaped(command.verb)));
    let arguments = command.usage();
    let arguments = arguments.strip_prefix(command.verb).unwrap_or(&arguments).trim();
    if !arguments.is_empty() {
        push_text(&mut page, arguments);
    }
    page.push_str(".SH DESCRIPTION\n");
    push_text(&mut page, command.description);
    if !command.reference_names.is_empty() {
        page.push_str(".PP\n");
        push_text(&mut page, &format!("Also called {}.", command.reference_names.join(", ")));
    }
    if !command.positionals.is_empty() {
        page.push_str(".SH ARGUMENTS\n");
        for positional in command.positionals {
            push_item(&mut page, positional.name, positional.help);
        }
    }
    page.push_str(".SH OPTIONS\n");
    for (group, flags) in command.groups() {
        page.push_str(&format!(".SS {}\n", group.title()));
        for flag in flags {
            push_item(&mut page, &flag.synopsis(), flag.help);
        }
    }
    if !examples.is_empty() {
        page.push_str(".SH EXAMPLES\n");
        for (line, what) in examples {
            push_item(&mut page, &format!("nnunet {line}"), what);
        }
    }
    page.push_str(".SH SEE ALSO\n.BR nnunet (1)\n");
    page
}

fn beginning(name: &str, summary: &str) -> String {
    format!(
        ".TH {} 1 \"\" \"nnunet {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(summary)
    )
}

/// A word or line in bold with its explanation.
fn push_item(page: &mut String, left: &str, right: &str) {
    page.push_str(&format!(".TP\n\\fB{}\\fR\n", escaped(left)));
    push_text(page, right);
}

/// Text as a line; one that begins like a request is protected.
fn push_text(page: &mut String, text: &str) {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) {
        page.push_str("\\&");
    }
    page.push_str(&text);
    page.push('\n');
}

/// Text with what roff takes for its own: backslashes, and hyphens that are to stay minus signs.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_take_for_its_own_is_escaped() {
        let mut page = String::new();
        push_text(&mut page, ".ending of C:\\data with --max-ram");
        assert_eq!(page, "\\&.ending of C:\\edata with \\-\\-max\\-ram\n");
    }
}
