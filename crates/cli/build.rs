//! States the commit that the program is built from, for `--version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Sources without a repository (a release archive), or a machine without git, build as well.
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=NNUNET_COMMIT={commit}");
    if commit != "unknown" {
        watch_head();
    }
}

/// Runs this again when HEAD means another commit.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    // The log tells of every commit and checkout; without one, the branch's own file or the packed branches do.
    let names = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    for name in names {
        // Not in .git with worktrees and submodules.
        let Some(path) = git(&["rev-parse", "--git-path", name]) else { continue };
        // Cargo takes what does not exist for changed, at every build.
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// What git says in one line, if it does.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}
