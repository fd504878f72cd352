//! The `nnunet` program: flags, commands, messages, progress. The only crate that prints.
#![forbid(unsafe_code)]
// Printing is this crate's job.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod commands;
mod demo;
mod download;
mod environment;
mod flags;
mod messages;
mod progress;
mod session;

use std::process::ExitCode;

use messages::{Interrupted, UsageError};
use session::Session;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    match run(&program, &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", messages::describe(&error));
            ExitCode::from(messages::exit_status(&error))
        }
    }
}

fn run(program: &str, words: &[String]) -> anyhow::Result<()> {
    // Called through a link named like one of the reference's programs.
    if let Some(command) = commands::by_reference_name(program_name(program)) {
        return run_command(command, words);
    }
    let Some((verb, rest)) = words.split_first() else {
        print!("{}", flags::program_help(&commands::all()));
        return Err(UsageError("no verb given".to_owned()).into());
    };
    match verb.as_str() {
        "--help" | "-h" | "help" => {
            print!("{}", flags::program_help(&commands::all()));
            println!("\nenvironment:");
            for variable in environment::VARIABLES {
                println!("  {:<24}{}", variable.name, variable.help);
            }
            Ok(())
        }
        "--version" | "-V" => {
            println!("{}", session::version()?);
            Ok(())
        }
        verb => match commands::by_verb(verb).or_else(|| commands::by_reference_name(verb)) {
            Some(command) => run_command(command, rest),
            None => Err(UsageError(format!("unknown verb {verb:?}; nnunet --help lists them")).into()),
        },
    }
}

fn run_command(command: &commands::Entry, words: &[String]) -> anyhow::Result<()> {
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{}", flags::command_help(&command.spec));
        return Ok(());
    }
    let matches = flags::parse(&command.spec, words)
        .map_err(|e| UsageError(format!("{e} (nnunet {} --help shows the arguments)", command.spec.verb)))?;
    let session = Session::new(&matches)?;
    let outcome = (command.run)(&matches, &session);
    match outcome {
        Err(error) if session.cancel.is_cancelled() => Err(Interrupted(messages::describe(&error)).into()),
        outcome => outcome,
    }
}

/// The last part of a path, without `.exe`.
fn program_name(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".exe").unwrap_or(name)
}
