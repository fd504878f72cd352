//! The `nnunet` program: flags, commands, messages, progress. The only crate that prints.
#![forbid(unsafe_code)]

mod commands;
mod demo;
mod download;
mod environment;
mod flags;
mod interrupt;
mod messages;
mod output;
mod progress;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use messages::{Interrupted, UsageError};
use nnunet::progress::Cancel;
use output::Results;
use session::Session;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let (results, cancel) = (Results::default(), Cancel::new());
    let outcome = as_text(words).and_then(|words| run(&program.to_string_lossy(), &words, &results, &cancel));
    let is_complete = output::finish(|| cancel.is_cancelled());
    // What went wrong with the work matters more than what went wrong with its report.
    match outcome.and_then(|()| results.check()) {
        Ok(()) if is_complete => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(interrupt::STATUS),
        Err(error) => {
            output::remark(&messages::last_line(&error));
            output::finish(|| cancel.is_cancelled());
            ExitCode::from(messages::exit_status(&error))
        }
    }
}

/// The arguments as text. Systems allow other bytes in names of files, but dataset.json and summary.json could not name
/// such files.
fn as_text(words: impl Iterator<Item = OsString>) -> anyhow::Result<Vec<String>> {
    let check = |word: OsString| {
        word.into_string().map_err(|word| {
            let text = format!(
                "argument {word:?} is not valid UTF-8; rename the file or folder, or make a link to it with another name"
            );
            UsageError(text).into()
        })
    };
    words.map(check).collect()
}

fn run(program: &str, words: &[String], results: &Results, cancel: &Cancel) -> anyhow::Result<()> {
    // Called through a link named like one of the reference's programs.
    if let Some(command) = commands::by_reference_name(program_name(program)) {
        return run_command(command, words, results, cancel);
    }
    let Some((verb, rest)) = words.split_first() else {
        results.text(&flags::program_help(&commands::all()));
        return Err(UsageError("no verb given".to_owned()).into());
    };
    match verb.as_str() {
        "--help" | "-h" | "help" => {
            results.text(&flags::program_help(&commands::all()));
            results.line("\nenvironment:");
            for variable in environment::VARIABLES {
                results.line(&format!("  {:<24}{}", variable.name, variable.help));
            }
            Ok(())
        }
        "--version" | "-V" => {
            results.line(&session::version()?);
            Ok(())
        }
        verb => match commands::by_verb(verb).or_else(|| commands::by_reference_name(verb)) {
            Some(command) => run_command(command, rest, results, cancel),
            None => Err(UsageError(unknown_verb(verb)).into()),
        },
    }
}

fn unknown_verb(verb: &str) -> String {
    match commands::closest_name(verb) {
        Some(name) => format!("unknown verb {verb:?}; did you mean {name}? nnunet --help lists all verbs"),
        None => format!("unknown verb {verb:?}; nnunet --help lists them"),
    }
}

fn run_command(
    command: &commands::Entry,
    words: &[String],
    results: &Results,
    cancel: &Cancel,
) -> anyhow::Result<()> {
    if words.iter().any(|word| flags::HELP.contains(&word.as_str())) {
        results.text(&flags::command_help(&command.spec));
        return Ok(());
    }
    let matches = flags::parse(&command.spec, words)
        .map_err(|e| UsageError(format!("{e} (nnunet {} --help shows the arguments)", command.spec.verb)))?;
    let session = Session::new(&matches, results.clone(), cancel.clone())?;
    (command.run)(&matches, &session).map_err(|error| {
        if session.cancel.is_cancelled() && messages::is_interruption(&error) {
            Interrupted::new(&error, command.spec.after_interruption).into()
        } else {
            error
        }
    })
}

/// The last part of a path, without `.exe`.
fn program_name(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".exe").unwrap_or(name)
}
