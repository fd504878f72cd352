//! States the commit that the program is built from, for `--version`.

use std::process::Command;

fn main() {
    let output = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output();
    // Sources without a repository (a release archive) build as well.
    let commit = output
        .ok()
        .filter(|o| o.status.success())
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=NNUNET_COMMIT={commit}");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=build.rs");
}
