//! `man`: the help pages as manual pages.

use std::path::Path;

use anyhow::Context;
use nnunet::files::write_atomic;

use super::{Entry, all, examples};
use crate::environment::VARIABLES;
use crate::flags::{Command, Flag, Group, Matches, Positional, command_page, program_page};
use crate::messages::UsageError;
use crate::session::Session;

/// The positional argument.
const VERB: &str = "[VERB]";

const FLAGS: &[Flag] = &[Flag::one(
    &["--out"],
    "DIR",
    "write the pages of the program and of every verb into this folder, created if it does not exist",
)
.within(Group::Output)];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "man",
        reference_names: &[],
        summary: "print or write manual pages",
        description: "Prints the manual page of the program or of a verb, or writes all of them: nnunet.1, nnunet-train.1 and \
                      so on, for man.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional {
            name: VERB,
            help: "verb whose page to print (default: that of the program)",
        }],
        flags: &[FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let commands = all();
    let environment: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, variable.help)).collect();
    let program = || program_page(&commands, &environment);
    match (matches.text(VERB), matches.path("--out")) {
        (Some(_), Some(_)) => {
            let text = "give a verb, whose page is printed, or --out DIR, where all pages are written";
            Err(UsageError(text.to_owned()).into())
        }
        (Some(verb), None) => {
            let command = commands.iter().find(|command| command.verb == verb);
            let command = command
                .ok_or_else(|| UsageError(format!("unknown verb {verb:?}; nnunet --help lists them")))?;
            session.result(command_page(command, examples::of(verb)).trim_end());
            Ok(())
        }
        (None, None) => {
            session.result(program().trim_end());
            Ok(())
        }
        (None, Some(folder)) => {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("{}: cannot be created", folder.display()))?;
            write(&folder.join("nnunet.1"), &program())?;
            for command in &commands {
                let page = command_page(command, examples::of(command.verb));
                write(&folder.join(format!("nnunet-{}.1", command.verb)), &page)?;
            }
            session.message(&format!("{} pages written to {}", commands.len() + 1, folder.display()));
            Ok(())
        }
    }
}

fn write(path: &Path, page: &str) -> anyhow::Result<()> {
    write_atomic(path, page.as_bytes()).with_context(|| format!("{}: cannot be written", path.display()))
}
