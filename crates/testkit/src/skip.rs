//! Checks that need something this machine lacks: they say so, and are counted.

use std::io::Write;

/// Environment variable that names a file; every skipped check adds a line to it. `cargo xtask check` sets it, and
/// prints the lines at its end: the test harness hides what a passing test prints.
pub const SKIPPED_CHECKS: &str = "NNUNET_SKIPPED_CHECKS";

/// Records that the running test skips a check because of `reason`, e.g. `there is no C compiler (cc)`.
///
/// # Panics
/// If the file that [`SKIPPED_CHECKS`] names cannot be written.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    let Some(path) = std::env::var_os(SKIPPED_CHECKS) else { return };
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Cargo appends a hash to the name of a test program.
    let program = program.rsplit_once('-').map_or(program.as_str(), |(name, _)| name);
    let thread = std::thread::current();
    let line = format!("{program}::{}: {reason}\n", thread.name().unwrap_or("?"));
    // One write per line: test programs run side by side.
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
