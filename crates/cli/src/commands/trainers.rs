//! `trainers`: what `-tr` takes.

use std::path::Path;

use nnunet::recipe::{is_file_name, read_file};

use super::Entry;
use crate::flags::{Command, Matches, Positional};
use crate::session::Session;

const TRAINER: &str = "[TRAINER]";

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "trainers",
        reference_names: &[],
        summary: "list the trainers, or print the recipe of one",
        description: "Lists every trainer with what differs from the default, or prints the recipe of one as TOML. A \
                      recipe file of your own states its base and only what differs; train it with train -tr FILE.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: TRAINER, help: "name of a trainer, or file of a recipe" }],
        flags: &[],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let recipes = &session.project.registry().recipes;
    match matches.text(TRAINER) {
        Some(file) if is_file_name(file) => {
            session.result(read_file(Path::new(file), recipes)?.to_toml().trim_end());
        }
        Some(name) => session.result(nnunet::recipe::find(name, recipes)?.to_toml().trim_end()),
        None => {
            let width = recipes.names().map(str::len).max().unwrap_or(0);
            for (name, summary, _) in recipes.iter() {
                session.result(&format!("{name:width$}  {summary}"));
            }
        }
    }
    Ok(())
}
