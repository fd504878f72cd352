//! Tasks of the repository: `cargo xtask check` runs everything a change has to pass.
#![forbid(unsafe_code)]
// This program's job is to print.
#![allow(clippy::print_stderr)]

mod arrows;
mod cargo;
mod check;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask check    format, lints, tests, documentation, fuzz targets, demo";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check::run(),
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
