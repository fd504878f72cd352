//! `devices`: what networks can run on here.

use nnunet::backend::{BackendOptions, DeviceState};
use nnunet::hint::Hint;
use serde_json::{Map, Value, json};

use super::Entry;
use super::network_flags::LIBTORCH;
use crate::environment::{cpu_level, torch_places};
use crate::flags::{Command, Flag, Group, Matches};
use crate::hints;
use crate::session::Session;

const FLAGS: &[Flag] =
    &[LIBTORCH, Flag::switch(&["--json"], "print a JSON list instead of text").within(Group::Output)];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "devices",
        reference_names: &[],
        summary: "list the devices that networks can run on",
        description: "Tries every device and lists them, the best first: the first usable one is the one that -device auto \
                      takes. States which libtorch was found and which card it runs on, or why a device cannot be used.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let options = BackendOptions {
        threads: session.threads.get(),
        cpu_level: cpu_level()?,
        torch: torch_places(matches),
        ..BackendOptions::default()
    };
    let states = session.project.registry().device_states(&options);
    if matches.has("--json") {
        session.result(&Value::Array(states.iter().map(as_json).collect()).to_string());
    } else {
        states.iter().for_each(|state| session.result(&as_text(state)));
    }
    Ok(())
}

fn as_text(state: &DeviceState) -> String {
    let DeviceState { name, description, found } = state;
    match found {
        Ok(details) => {
            let details: Vec<String> =
                details.iter().map(|(key, value)| format!("{} {value}", key.replace('_', " "))).collect();
            format!("{name}: {description}: {}", details.join(", "))
        }
        Err(error) => {
            let hint = hints::of(error).map_or_else(String::new, |hint| format!(". {hint}"));
            format!("{name}: {description}: {error}{hint}")
        }
    }
}

fn as_json(state: &DeviceState) -> Value {
    let mut entry = Map::from_iter([
        ("name".to_owned(), json!(state.name)),
        ("description".to_owned(), json!(state.description)),
        ("usable".to_owned(), json!(state.found.is_ok())),
    ]);
    match &state.found {
        Ok(details) => entry.extend(details.iter().map(|(key, value)| ((*key).to_owned(), json!(value)))),
        Err(error) => {
            entry.insert("reason".to_owned(), json!(error.to_string()));
            if let Some(hint) = Hint::of(error) {
                entry.insert("hint".to_owned(), json!(hint.to_string()));
            }
        }
    }
    Value::Object(entry)
}
