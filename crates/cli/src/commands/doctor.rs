//! `doctor`: what this machine offers, and what would be missing or slow.

use nnunet::backend::CpuLevel;
use nnunet::memory::gigabytes;
use nnunet::{Diagnosis, FolderState, speed_of};
use serde_json::{Value, json};

use super::Entry;
use crate::environment::{self, FOLDER_FLAGS, Setting, cpu_level};
use crate::flags::{Command, Flag, Group, Matches};
use crate::session::Session;

const FLAGS: &[Flag] =
    &[Flag::switch(&["--json"], "print one JSON object instead of text").within(Group::Output)];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "doctor",
        reference_names: &[],
        summary: "show what this machine offers, and what is missing or slow",
        description: "Shows the CPU level in use and what it means for speed, cores and memory with their limits, the three \
                      folders with their file systems, the environment variables that count, and whether the models in the \
                      results folder can be loaded (the first fold of each is read). Ends with what is missing, broken or \
                      slow, and why. Changes nothing.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let found = session.project.doctor(cpu_level()?);
    let settings = environment::settings();
    if matches.has("--json") {
        session.result(&json_of(&found, &settings).to_string());
    } else {
        text_of(&found, &settings).iter().for_each(|line| session.result(line));
    }
    Ok(())
}

/// The report, line by line.
fn text_of(found: &Diagnosis, settings: &[Setting]) -> Vec<String> {
    let cpu = found.cpu;
    let lowered = match cpu.in_use < cpu.detected {
        true => format!(", lowered from {} by NNUNET_CPU_LEVEL", cpu.detected.name()),
        false => String::new(),
    };
    let cores = match cpu.cores {
        Some(cores) if cores != cpu.usable_cores => format!("{} of {cores}", cpu.usable_cores),
        _ => cpu.usable_cores.to_string(),
    };
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), gigabytes);
    let mut lines = vec![
        format!("nnunet {} (commit {})", env!("CARGO_PKG_VERSION"), env!("NNUNET_COMMIT")),
        format!("CPU level: {}{lowered}: {}", cpu.in_use.name(), speed_of(cpu.in_use)),
        format!("cores: {cores}"),
        format!(
            "memory: {} in all ({}), {} free now",
            bytes(found.memory.total),
            found.memory.limited_by,
            bytes(found.memory.available)
        ),
    ];
    lines.extend(found.devices.iter().map(|(name, what)| format!("device {name}: {what}")));
    lines.extend(found.folders.iter().map(folder_line));
    lines.extend(settings.iter().map(|setting| {
        let remark = if setting.is_known { "" } else { " (ignored: not a variable of this program)" };
        format!("environment: {}={}{remark}", setting.name, setting.value)
    }));
    for model in &found.models {
        let state = model.problem.as_deref().unwrap_or("loads");
        let folds = if model.folds.is_empty() { "none".to_owned() } else { model.folds.join(" ") };
        lines.push(format!("model {}/{}: folds {folds}; {state}", model.dataset, model.name));
    }
    if found.findings.is_empty() {
        lines.push("nothing is missing or slow".to_owned());
    }
    let findings = found.findings.iter();
    lines.extend(findings.map(|finding| format!("{}: {}", finding.kind.name(), finding.text)));
    lines
}

fn folder_line(folder: &FolderState) -> String {
    let Some(path) = &folder.path else { return format!("{}: not set", folder.name) };
    let system = folder.file_system.clone().unwrap_or_default();
    let kind = match (system.kind, system.is_network) {
        (Some(kind), true) => format!(", {kind} (network)"),
        (Some(kind), false) => format!(", {kind}"),
        (None, _) => String::new(),
    };
    let free = system.free.map_or_else(String::new, |free| format!(", {} free", gigabytes(free)));
    let state = match (folder.exists, &folder.unwritable) {
        (true, None) => format!("{} datasets, writable", folder.datasets),
        (true, Some(_)) => format!("{} datasets, not writable", folder.datasets),
        (false, None) => "does not exist yet, can be created".to_owned(),
        (false, Some(_)) => "does not exist, cannot be created".to_owned(),
    };
    format!("{}: {}: {state}{kind}{free}", folder.name, path.display())
}

/// The report as one object.
fn json_of(found: &Diagnosis, settings: &[Setting]) -> Value {
    let level = |level: CpuLevel| level.name();
    let folders: Vec<Value> = found
        .folders
        .iter()
        .map(|folder| {
            let system = folder.file_system.clone().unwrap_or_default();
            json!({
                "name": folder.name, "path": folder.path, "exists": folder.exists,
                "writable": folder.path.is_some() && folder.unwritable.is_none(), "problem": folder.unwritable,
                "file_system": system.kind, "network": system.is_network, "free_bytes": system.free,
                "datasets": folder.datasets,
            })
        })
        .collect();
    let models: Vec<Value> = found
        .models
        .iter()
        .map(|model| {
            json!({
                "dataset": model.dataset.to_string(), "name": model.name.to_string(), "folds": model.folds,
                "loads": model.problem.is_none(), "problem": model.problem,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "commit": env!("NNUNET_COMMIT"),
        "cpu": {
            "level": level(found.cpu.in_use), "detected_level": level(found.cpu.detected),
            "meaning": speed_of(found.cpu.in_use), "cores": found.cpu.cores, "usable_cores": found.cpu.usable_cores,
        },
        "memory": {
            "total_bytes": found.memory.total, "available_bytes": found.memory.available,
            "limited_by": found.memory.limited_by.to_string(),
        },
        "devices": found.devices.iter().map(|(name, what)| json!({"name": name, "description": what})).collect::<Vec<_>>(),
        "folders": folders,
        "environment": settings.iter().map(|setting| json!({
            "name": setting.name, "value": setting.value, "recognised": setting.is_known,
        })).collect::<Vec<_>>(),
        "models": models,
        "findings": found.findings.iter().map(|finding| json!({
            "kind": finding.kind.name(), "text": finding.text,
        })).collect::<Vec<_>>(),
    })
}
