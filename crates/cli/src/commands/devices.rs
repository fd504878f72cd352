//! `devices`: what networks can run on here.

use serde_json::{Value, json};

use super::Entry;
use crate::environment::cpu_level;
use crate::flags::{Command, Flag, Group, Matches};
use crate::session::Session;

const FLAGS: &[Flag] =
    &[Flag::switch(&["--json"], "print a JSON list instead of text").within(Group::Output)];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "devices",
        reference_names: &[],
        summary: "list the devices that networks can run on",
        description: "Lists the devices of this build, the best first: that is the one that -device auto takes.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let level = cpu_level()?.name();
    let devices = session.project.registry().devices.iter();
    if matches.has("--json") {
        let list: Vec<Value> = devices
            .map(|(name, what, _)| json!({"name": name, "description": what, "cpu_level": level}))
            .collect();
        session.result(&Value::Array(list).to_string());
    } else {
        devices.for_each(|(name, what, _)| session.result(&format!("{name}: {what}, CPU level {level}")));
    }
    Ok(())
}
