//! Calling cargo, and asking it where it put what it built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    // The manifest of this crate lies one folder below.
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `cargo ARGUMENTS` in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs `command` with its output shown, and states its time.
///
/// # Errors
/// When it cannot be started, or fails.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    timed(&mut command, |command| command.status().map(|status| (status, ())))
}

/// Builds the release program and returns its path, wherever cargo's configuration puts it (`CARGO_TARGET_DIR`,
/// `build.target-dir`, `build.target`).
///
/// # Errors
/// When the build fails, or makes no program.
pub(crate) fn release_program() -> Result<PathBuf, String> {
    let mut command = cargo(&["build", "--locked", "--release", "--message-format=json-render-diagnostics"]);
    command.stderr(Stdio::inherit());
    let messages =
        timed(&mut command, |command| command.output().map(|output| (output.status, output.stdout)))?;
    // One JSON object a line; a program's has the path of the executable.
    String::from_utf8_lossy(&messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "nnunet")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo build --release names no program nnunet".to_owned())
}

/// Runs `command` by `wait` between a line that names it and one with its time.
fn timed<T>(
    command: &mut Command,
    wait: impl FnOnce(&mut Command) -> std::io::Result<(std::process::ExitStatus, T)>,
) -> Result<T, String> {
    let line = format!("{command:?}").replace('"', "");
    eprintln!("== {line}");
    let start = Instant::now();
    let (status, value) = wait(command).map_err(|e| format!("{line} could not be started: {e}"))?;
    eprintln!("== {:.0} s", start.elapsed().as_secs_f64());
    if status.success() { Ok(value) } else { Err(format!("{line} ended with {status}")) }
}
