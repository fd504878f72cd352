//! `cargo xtask check`: everything that a change has to pass, in the order of how fast it fails.
#![forbid(unsafe_code)]
// This program's job is to print.
#![allow(clippy::print_stderr)]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "usage: cargo xtask check    format, lints, tests, documentation tests, demo";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo(&["test", "--workspace", "--lib", "--bins", "--tests"])?;
    cargo(&["test", "--workspace", "--doc"])?;
    cargo(&["build", "--release"])?;
    smoke()
}

/// The main job in short: the program makes a dataset, plans, trains a few steps, predicts, evaluates and
/// checks that every stage left its files.
fn smoke() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/nnunet");
    let out = folder.path().join("demo");
    let mut command = Command::new(program);
    command.arg("demo").arg("--short").arg("--out").arg(&out);
    run(command)
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    run(command)
}

fn run(mut command: Command) -> Result<(), String> {
    let line = format!("{command:?}").replace('"', "");
    eprintln!("== {line}");
    let start = Instant::now();
    let status = command.status().map_err(|e| format!("{line} could not be started: {e}"))?;
    eprintln!("== {:.0} s", start.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{line} ended with {status}")) }
}
