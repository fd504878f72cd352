//! What every verb needs: folders, threads, progress and the request to stop.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use nnunet::progress::{Cancel, Event, Progress};
use nnunet::{Ctx, Folders, Project, Registry};

use crate::environment::{folder, path_variable, variable};
use crate::flags::{Flag, Group, Matches};
use crate::interrupt;
use crate::log_file::LogFile;
use crate::messages::UsageError;
use crate::output::Results;
use crate::progress::{Display, Style};

/// The flag for the number of threads, for verbs that have no `-np` of the reference.
pub(crate) const THREAD_FLAGS: &[Flag] =
    &[Flag::one(&["--threads"], "N", "number of threads (default: all cores, or $nnUNet_def_n_proc)")
        .within(Group::Speed)];

/// The surroundings of one run.
pub(crate) struct Session {
    /// The folders with the parts to choose from. Networks run on the default device until a verb has read its flags.
    pub(crate) project: Project,
    /// Where progress goes.
    pub(crate) display: Display,
    /// Where results go.
    results: Results,
    /// Raised by Ctrl-C and by a request to terminate.
    pub(crate) cancel: Cancel,
    /// Number of threads to use.
    pub(crate) threads: NonZeroUsize,
    /// Bytes of main memory that the verb may take (`--max-ram`).
    max_memory: Option<u64>,
    /// Whether details are wanted (`-v`).
    pub(crate) verbose: bool,
    /// What was written, for the summary.
    outputs: Arc<Mutex<Vec<PathBuf>>>,
}

impl Session {
    /// Reads the common flags and the environment, and raises `cancel` on interrupts from now on.
    pub(crate) fn new(
        matches: &Matches,
        results: Results,
        cancel: Cancel,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let folders = Folders {
            raw: folder(matches, "--raw", "nnUNet_raw"),
            preprocessed: folder(matches, "--preprocessed", "nnUNet_preprocessed"),
            results: folder(matches, "--results", "nnUNet_results"),
        };
        let project = Project::new(folders).with_registry(registry).with_variables(path_variable);
        let style = matches.parsed("--progress", "bar, plain, json, slicer or none")?;
        let quiet = ["--no_pbar", "--disable_progress_bar"].iter().any(|flag| matches.has(flag));
        let style = style.unwrap_or(if quiet { Style::None } else { Style::default_for_terminal() });
        let threads = threads(matches)?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .context("the thread pool could not be started")?;
        interrupt::listen(cancel.clone())?;
        let log = matches.path("--log-file").map(|path| LogFile::open(&path)).transpose()?;
        let display = Display::new(style, results.clone(), log);
        let stamped = matches.has("-vv");
        let verbose = stamped || matches.has("-v");
        if verbose {
            display.show_every_step();
        }
        if stamped {
            display.stamp_lines();
        }
        Ok(Self {
            project,
            display,
            results,
            cancel,
            threads,
            max_memory: max_memory(matches)?,
            verbose,
            outputs: Arc::default(),
        })
    }

    /// The same session with another project.
    pub(crate) fn with_project(&self, project: Project) -> Self {
        Self {
            project,
            display: self.display.clone(),
            results: self.results.clone(),
            cancel: self.cancel.clone(),
            threads: self.threads,
            max_memory: self.max_memory,
            verbose: self.verbose,
            outputs: Arc::clone(&self.outputs),
        }
    }

    /// What the stages are given.
    pub(crate) fn ctx(&self) -> Ctx<'_> {
        Ctx::new(&self.display, &self.cancel).within(self.max_memory).with_threads(self.threads)
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
            self.display.log("result", text);
            self.results.line(text);
        }
    }

    /// Notes a file or folder that was written, for the summary.
    pub(crate) fn wrote(&self, path: &Path) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }

    /// Says what the run took and where its results are: what the verb has noted, or what the flags name.
    pub(crate) fn summarise(&self, verb: &str, matches: &Matches) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let named = ["-o", "--out"].into_iter().filter_map(|flag| matches.path(flag));
        for path in named {
            if !outputs.contains(&path) {
                outputs.push(path);
            }
        }
        self.display.summarise(verb, &outputs);
    }

    /// A line on something the user should look at.
    pub(crate) fn warning(&self, text: &str) {
        self.display.event(Event::Warning(text));
    }
}

/// `--max-ram` in bytes, for verbs that have it.
fn max_memory(matches: &Matches) -> Result<Option<u64>, UsageError> {
    let what = "a number of gigabytes above 0, e.g. 6 or 7.5";
    match matches.parsed::<f64>("--max-ram", what)? {
        Some(gigabytes) if gigabytes > 0.0 && gigabytes < 1e9 => Ok(Some((gigabytes * 1e9) as u64)),
        Some(other) => Err(UsageError(format!("argument --max-ram: found {other}, expected {what}"))),
        None => Ok(None),
    }
}

fn threads(matches: &Matches) -> Result<NonZeroUsize, UsageError> {
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
    match given.map(NonZeroUsize::new) {
        Some(None) => Err(UsageError(format!("number of threads: found 0, expected {what}"))),
        Some(Some(n)) => Ok(n),
        None => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    }
}

/// The line of `--version`.
pub(crate) fn version(registry: &Registry) -> anyhow::Result<String> {
    let level = crate::environment::cpu_level()?;
    Ok(format!(
        "nnunet {} (commit {}, cpu level {level:?}, devices: {})",
        env!("CARGO_PKG_VERSION"),
        env!("NNUNET_COMMIT"),
        registry.devices.names().collect::<Vec<_>>().join(", ")
    ))
}
