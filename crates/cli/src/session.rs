//! What every verb needs: folders, threads, progress and the request to stop.

use anyhow::Context;
use nnunet::Ctx;
use nnunet::progress::{Cancel, Event, Progress};

use crate::environment::{folder, variable};
use crate::flags::{Flag, Matches};
use crate::interrupt;
use crate::messages::UsageError;
use crate::output::Results;
use crate::progress::{Display, Style};

/// The flag for the number of threads, for verbs that have no `-np` of the reference.
pub(crate) const THREAD_FLAGS: &[Flag] =
    &[Flag::one(&["--threads"], "N", "number of threads (default: all cores, or $nnUNet_def_n_proc)")];

/// The surroundings of one run.
pub(crate) struct Session {
    /// The three folders.
    pub(crate) folders: nnunet::dataset::Folders,
    /// Where progress goes.
    pub(crate) display: Display,
    /// Where results go.
    results: Results,
    /// Raised by Ctrl-C and by a request to terminate.
    pub(crate) cancel: Cancel,
    /// Number of threads to use.
    pub(crate) threads: usize,
}

impl Session {
    /// Reads the common flags and the environment, and raises `cancel` on interrupts from now on.
    pub(crate) fn new(matches: &Matches, results: Results, cancel: Cancel) -> anyhow::Result<Self> {
        let folders = nnunet::dataset::Folders {
            raw: folder(matches, "--raw", "nnUNet_raw"),
            preprocessed: folder(matches, "--preprocessed", "nnUNet_preprocessed"),
            results: folder(matches, "--results", "nnUNet_results"),
        };
        let style = matches.parsed("--progress", "bar, plain, json or none")?;
        let quiet = ["--no_pbar", "--disable_progress_bar"].iter().any(|flag| matches.has(flag));
        let style = style.unwrap_or(if quiet { Style::None } else { Style::default_for_terminal() });
        let threads = threads(matches)?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("the thread pool could not be started")?;
        interrupt::listen(cancel.clone())?;
        Ok(Self { folders, display: Display::new(style, results.clone()), results, cancel, threads })
    }

    /// The same session in other folders.
    pub(crate) fn with_folders(&self, folders: nnunet::dataset::Folders) -> Self {
        Self {
            folders,
            display: self.display.clone(),
            results: self.results.clone(),
            cancel: self.cancel.clone(),
            threads: self.threads,
        }
    }

    /// What the stages are given.
    pub(crate) fn ctx(&self) -> Ctx<'_> {
        Ctx::new(&self.display, &self.cancel)
    }

    /// A line for the user.
    pub(crate) fn message(&self, text: &str) {
        self.display.event(Event::Message(text));
    }

    /// A line of the result: on stdout, or among the records for machines.
    pub(crate) fn result(&self, text: &str) {
        if self.display.is_json() {
            self.message(text);
        } else {
            self.results.line(text);
        }
    }

    /// A line on something the user should look at.
    pub(crate) fn warning(&self, text: &str) {
        self.display.event(Event::Warning(text));
    }
}

fn threads(matches: &Matches) -> Result<usize, UsageError> {
    let what = "a number of at least 1";
    let given = match matches.parsed::<usize>("--threads", what)? {
        Some(n) => Some(n),
        None => {
            let fingerprint = matches.parsed::<usize>("-npfp", what)?;
            matches.all_parsed::<usize>("-np", what)?.into_iter().chain(fingerprint).max()
        }
    };
    let given = match given {
        Some(n) => Some(n),
        None => match variable("nnUNet_def_n_proc") {
            Some(text) => Some(text.parse().map_err(|_| {
                UsageError(format!("environment variable nnUNet_def_n_proc: found {text:?}, expected {what}"))
            })?),
            None => None,
        },
    };
    match given {
        Some(0) => Err(UsageError(format!("number of threads: found 0, expected {what}"))),
        Some(n) => Ok(n),
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// The line of `--version`.
pub(crate) fn version() -> anyhow::Result<String> {
    let level = crate::commands::network_flags::cpu_level()?;
    Ok(format!(
        "nnunet {} (commit {}, cpu level {level:?}, devices: {})",
        env!("CARGO_PKG_VERSION"),
        env!("NNUNET_COMMIT"),
        nnunet::backend::names().join(", ")
    ))
}
