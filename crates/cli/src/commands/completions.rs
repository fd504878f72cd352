//! `completions`: scripts that let a shell complete verbs, flags and values.

use super::{Entry, all};
use crate::completion::{Completions, SHELLS};
use crate::flags::{Command, Matches, Positional};
use crate::messages::UsageError;
use crate::session::Session;

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "completions",
        reference_names: &[],
        summary: "print a completion script for bash, zsh, fish or PowerShell",
        description: "Prints a script with which the shell completes verbs, flags and, where they are known, values: devices, \
                      trainers, planners, configurations, files. It also completes the nnUNetv2_* links. bash reads it from \
                      ~/.local/share/bash-completion/completions/nnunet, zsh as _nnunet from a folder in $fpath, fish from \
                      ~/.config/fish/completions/nnunet.fish; in PowerShell, add it to $PROFILE.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "SHELL", help: "bash, zsh, fish or powershell" }],
        flags: &[],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let asked = matches.required("SHELL")?;
    let Some((_, script)) = SHELLS.iter().find(|(name, _)| *name == asked) else {
        let known = SHELLS.map(|(name, _)| name).join(", ");
        return Err(UsageError(format!("shell {asked:?} is not known; expected one of {known}")).into());
    };
    let commands = all();
    let completions = Completions { commands: &commands, registry: session.project.registry() };
    session.result(script(&completions).trim_end());
    Ok(())
}
