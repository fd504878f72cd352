//! `cargo xtask check`: everything a change has to pass, what fails fastest first.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::arrows;
use crate::cargo::{cargo, release_program, run as step};

/// Names a file to which every skipped check adds a line (see `nnunet_testkit::skip`).
const SKIPPED_CHECKS: &str = "NNUNET_SKIPPED_CHECKS";

/// Runs all steps and stops at the first that fails.
///
/// # Errors
/// The step that failed.
pub(crate) fn run() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let mut skipped = Skipped::new(folder.path());
    arrows::check()?;
    step(cargo(&["fmt", "--all", "--check"]))?;
    step(cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step(skipped.counting(cargo(&["test", "--locked", "--workspace", "--lib", "--bins", "--tests"])))?;
    step(skipped.counting(cargo(&["test", "--locked", "--workspace", "--doc"])))?;
    documentation()?;
    dependencies(&mut skipped)?;
    fuzz_targets(&mut skipped)?;
    demo(&release_program()?, folder.path())?;
    skipped.report();
    Ok(())
}

/// The API documentation, whose links have to lead somewhere.
fn documentation() -> Result<(), String> {
    let mut command =
        cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    // Overviews of modules lead to their private parts.
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    step(command)
}

/// Licences and sources of the dependencies. Advisories need a download and are left to `cargo deny check`.
fn dependencies(skipped: &mut Skipped) -> Result<(), String> {
    if is_installed("deny") {
        return step(cargo(&["deny", "--locked", "check", "licenses", "bans", "sources"]));
    }
    skipped.step("licences and sources of the dependencies: `cargo install --locked cargo-deny` is needed");
    Ok(())
}

/// The fuzz targets, which are a workspace of their own.
fn fuzz_targets(skipped: &mut Skipped) -> Result<(), String> {
    if is_installed("fuzz") {
        return step(cargo(&["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"]));
    }
    skipped.step("fuzz targets: `cargo install --locked cargo-fuzz` is needed");
    Ok(())
}

/// Whether cargo has the subcommand `name`.
fn is_installed(name: &str) -> bool {
    let mut version = cargo(&[name, "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The main job in short: the program makes a dataset, plans, trains a few steps, predicts, evaluates and
/// checks that every stage left its files.
fn demo(program: &Path, folder: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg("demo").arg("--short").arg("--out").arg(folder.join("demo"));
    step(command)
}

/// What could not be checked on this machine.
struct Skipped {
    /// Where tests write a line for each check that they skip.
    file: std::path::PathBuf,
    steps: Vec<String>,
}

impl Skipped {
    fn new(folder: &Path) -> Self {
        Self { file: folder.join("skipped"), steps: Vec::new() }
    }

    /// `command`, whose tests report here.
    fn counting(&self, mut command: Command) -> Command {
        command.env(SKIPPED_CHECKS, &self.file);
        command
    }

    fn step(&mut self, reason: &str) {
        self.steps.push(reason.to_owned());
    }

    /// One line for each check that was skipped, tests counted.
    fn report(&self) {
        // Without a single skipped check there is no file.
        let lines = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (test, reason) in lines.lines().filter_map(|line| line.split_once(": ")) {
            tests.entry(test).or_default().push(reason);
        }
        let checks: usize = tests.values().map(Vec::len).sum();
        for (test, reasons) in &tests {
            eprintln!("skipped: {test}: {}", reasons.join("; "));
        }
        for reason in &self.steps {
            eprintln!("skipped: {reason}");
        }
        match checks + self.steps.len() {
            0 => eprintln!("== everything was checked"),
            count => eprintln!("== passed; {count} checks were skipped, {} tests among them", tests.len()),
        }
    }
}
