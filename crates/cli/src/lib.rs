//! The `nnunet` program as a library: flags, commands, messages, progress. The only crate that prints.
//!
//! A program of one's own registers its parts and has every verb:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use nnunet::backend::{self, BackendOptions};
//!
//! fn main() -> ExitCode {
//!     nnunet_cli::Program::new()
//!         .register(|registry| {
//!             registry.devices.register("one-core", "the CPU, one core of it", Arc::new(|options| {
//!                 Ok(backend::cpu(&BackendOptions { threads: 1, ..options.clone() }))
//!             }))
//!         })
//!         .run()
//! }
//! ```
#![forbid(unsafe_code)]

mod commands;
mod completion;
mod demo;
mod download;
mod environment;
mod flags;
mod hints;
mod interrupt;
mod log_file;
mod messages;
mod output;
mod progress;
#[cfg(test)]
mod reference_pages;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use nnunet::Registry;
use nnunet::parts::AlreadyRegistered;
use nnunet::progress::Cancel;

use messages::{Interrupted, UsageError};
use output::Results;
use session::Session;

/// The program: every verb, with the parts that are built in and those that are registered.
#[derive(Debug, Default)]
pub struct Program {
    registry: Registry,
    /// The first part that could not be registered.
    refused: Option<AlreadyRegistered>,
}

impl Program {
    /// The program with the parts that are built in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `add` register parts. A name that is taken ends the program when it [runs](Self::run).
    #[must_use]
    pub fn register(mut self, add: impl FnOnce(&mut Registry) -> Result<(), AlreadyRegistered>) -> Self {
        if self.refused.is_none() {
            self.refused = add(&mut self.registry).err();
        }
        self
    }

    /// Does what the arguments of the process say and returns its exit status. To be called once: it starts the global
    /// thread pool and listens to interrupts.
    pub fn run(self) -> ExitCode {
        let mut words = std::env::args_os();
        let program = words.next().unwrap_or_default();
        let (results, cancel) = (Results::default(), Cancel::new());
        let outcome = match self.refused {
            Some(error) => Err(error.into()),
            None => {
                let run = Run { registry: self.registry, results: &results, cancel: &cancel };
                as_text(words).and_then(|words| run.program(&program.to_string_lossy(), &words))
            }
        };
        // What went wrong with the work matters more than what went wrong with its report.
        let is_complete = output::finish(|| cancel.is_cancelled());
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

/// One run of the program.
struct Run<'a> {
    registry: Registry,
    results: &'a Results,
    cancel: &'a Cancel,
}

impl Run<'_> {
    fn program(self, program: &str, words: &[String]) -> anyhow::Result<()> {
        // Called through a link named like one of the reference's programs.
        if let Some(command) = commands::by_reference_name(program_name(program)) {
            return self.command(command, words);
        }
        let Some((verb, rest)) = words.split_first() else {
            self.results.text(&help());
            return Err(UsageError("no verb given".to_owned()).into());
        };
        match verb.as_str() {
            "--help" | "-h" | "help" => {
                self.results.text(&help());
                Ok(())
            }
            "--version" | "-V" => {
                self.results.line(&session::version(&self.registry)?);
                Ok(())
            }
            // 3D Slicer's extension resolves the link nnUNetv2_predict and calls what it points to, with predict's arguments.
            "-i" => match commands::by_verb("predict") {
                Some(predict) => self.command(predict, words),
                None => Err(UsageError(unknown_verb("-i")).into()),
            },
            verb => match commands::by_verb(verb).or_else(|| commands::by_reference_name(verb)) {
                Some(command) => self.command(command, rest),
                None => Err(UsageError(unknown_verb(verb)).into()),
            },
        }
    }

    fn command(self, command: &commands::Entry, words: &[String]) -> anyhow::Result<()> {
        if words.iter().any(|word| flags::HELP.contains(&word.as_str())) {
            self.results.text(&flags::command_help(&command.spec, commands::examples::of(command.spec.verb)));
            return Ok(());
        }
        let matches = flags::parse(&command.spec, words).map_err(|e| {
            UsageError(format!("{e} (nnunet {} --help shows the arguments)", command.spec.verb))
        })?;
        let session = Session::new(&matches, self.results.clone(), self.cancel.clone(), self.registry)?;
        session.display.log("begin", &format!("nnunet {} {}", command.spec.verb, words.join(" ")));
        let outcome = (command.run)(&matches, &session).map_err(|error| {
            if session.cancel.is_cancelled() && messages::is_interruption(&error) {
                Interrupted::new(&error, command.spec.after_interruption).into()
            } else {
                error
            }
        });
        match &outcome {
            Ok(()) => session.summarise(command.spec.verb, &matches),
            Err(error) => session.display.log("end", &messages::last_line(error)),
        }
        outcome
    }
}

/// The help page of the program.
fn help() -> String {
    let environment: Vec<_> = environment::VARIABLES.iter().map(|v| (v.name, v.help)).collect();
    flags::program_help(&commands::all(), &environment)
}

fn unknown_verb(verb: &str) -> String {
    match commands::closest_name(verb) {
        Some(name) => format!("unknown verb {verb:?}; did you mean {name}? nnunet --help lists all verbs"),
        None => format!("unknown verb {verb:?}; nnunet --help lists them"),
    }
}

/// The last part of a path, without `.exe`.
fn program_name(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.strip_suffix(".exe").unwrap_or(name)
}
