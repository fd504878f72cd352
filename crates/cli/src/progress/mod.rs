//! Progress on the terminal: a bar with the time left, plain lines, or records for other programs.

mod machine;
mod stage;
mod words;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nnunet::memory::{MemoryInUse, gigabytes};
use nnunet::progress::{EpochReport, Event, Progress};

#[cfg(test)]
pub(crate) use self::machine::example_records;
use self::machine::{json_record, slicer_lines, summary_record};
use self::stage::Stage;
use self::words::duration;
pub(crate) use self::words::epoch_line;
use crate::flags::{Flag, Group};
use crate::log_file::LogFile;
use crate::output::{self, Results, Weight};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A bar with the time left.
    Bar,
    /// A line now and then.
    Plain,
    /// One JSON object a line on stdout.
    Json,
    /// Lines on stdout that 3D Slicer shows as progress.
    Slicer,
    /// Warnings and messages only.
    None,
}

impl Style {
    /// Every style with its name.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("bar", Self::Bar),
        ("plain", Self::Plain),
        ("json", Self::Json),
        ("slicer", Self::Slicer),
        ("none", Self::None),
    ];

    /// A bar on a terminal, plain lines otherwise.
    pub(crate) fn default_for_terminal() -> Self {
        if output::remarks_on_terminal() { Style::Bar } else { Style::Plain }
    }
}

impl FromStr for Style {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, style)| style).ok_or(())
    }
}

/// The flag for it, for every verb that takes time.
pub(crate) const PROGRESS_FLAGS: &[Flag] = &[Flag::one(
    &["--progress"],
    "STYLE",
    "bar, plain, json (one record per line on stdout), slicer (lines for 3D Slicer on stdout) or none (warnings and \
     messages only); default: bar on a terminal, plain otherwise",
)
.within(Group::General)];

/// Shows events, in the thread of the output. Messages go to stderr, JSON records to stdout.
#[derive(Clone)]
pub(crate) struct Display {
    style: Style,
    results: Results,
    /// Where every event is written too.
    log: Option<LogFile>,
    /// Since when times count.
    begun: Instant,
    /// What was said: locked for a moment by whoever has an event.
    said: Arc<Mutex<Said>>,
    /// Only locked by the thread of the output, which may be held up by a slow reader.
    stage: Arc<Mutex<Stage>>,
}

/// What need not be said again.
#[derive(Default)]
struct Said {
    /// Whether every step has a line, on a terminal too.
    every_step: bool,
    /// Warnings so far: several stages look at the same files, and each remark is made once.
    warnings: HashSet<String>,
    /// Beginnings (`PATH: `) of warnings about files and folders that a report has listed.
    reported: HashSet<String>,
    /// Whether there was a stage: work that takes time.
    worked: bool,
}

/// An event that waits to be shown.
enum Shown {
    Started { stage: String, total: u64 },
    Advanced { done: u64, detail: String },
    EpochFinished(EpochReport),
    Finished,
    Message(String),
    Warning(String),
}

impl Shown {
    /// A copy of `event`; `None` for those of a later version of the libraries, which this one does not show.
    fn new(event: &Event<'_>) -> Option<Self> {
        Some(match *event {
            Event::Started { stage, total } => Self::Started { stage: stage.to_owned(), total },
            Event::Advanced { done, detail } => Self::Advanced { done, detail: detail.to_owned() },
            Event::EpochFinished(report) => Self::EpochFinished(report.clone()),
            Event::Finished => Self::Finished,
            Event::Message(text) => Self::Message(text.to_owned()),
            Event::Warning(text) => Self::Warning(text.to_owned()),
            _ => return None,
        })
    }

    fn event(&self) -> Event<'_> {
        match self {
            Self::Started { stage, total } => Event::Started { stage, total: *total },
            Self::Advanced { done, detail } => Event::Advanced { done: *done, detail },
            Self::EpochFinished(report) => Event::EpochFinished(report),
            Self::Finished => Event::Finished,
            Self::Message(text) => Event::Message(text),
            Self::Warning(text) => Event::Warning(text),
        }
    }
}

impl Display {
    /// A display of the given style, with records for machines among the `results`.
    pub(crate) fn new(style: Style, results: Results, log: Option<LogFile>) -> Self {
        let (said, stage) = (Arc::default(), Arc::new(Mutex::new(Stage::new())));
        Self { style, results, log, begun: Instant::now(), said, stage }
    }

    /// From now on every step has a line of its own instead of a bar or a line now and then.
    pub(crate) fn show_every_step(&self) {
        self.said().every_step = true;
    }

    /// From now on every line begins with the time since the start and the memory in use.
    pub(crate) fn stamp_lines(&self) {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).stamped = Some(self.begun);
    }

    /// Says what the work took, unless nothing took time or nobody wants to know.
    pub(crate) fn summarise(&self, verb: &str, outputs: &[PathBuf]) {
        if !self.said().worked {
            return;
        }
        let (seconds, peak) = (self.begun.elapsed().as_secs_f64(), MemoryInUse::of_this_process().peak);
        let memory = peak.map_or_else(String::new, |bytes| format!(", peak memory {}", gigabytes(bytes)));
        let paths: Vec<String> = outputs.iter().map(|path| path.display().to_string()).collect();
        let written =
            if paths.is_empty() { String::new() } else { format!(", output in {}", paths.join(", ")) };
        let line = format!("{verb}: done in {}{memory}{written}", duration(seconds));
        self.log("summary", &line);
        match self.style {
            Style::None => {}
            Style::Json => {
                self.results.line(&summary_record(verb, seconds, peak, &paths).to_string());
            }
            Style::Bar | Style::Plain | Style::Slicer => output::remark(&line),
        }
    }

    /// Writes a line to the log file only.
    pub(crate) fn log(&self, kind: &str, text: &str) {
        if let Some(log) = &self.log {
            log.append(kind, text);
        }
    }

    /// A report has listed what is to be said about `paths`: warnings about them are not shown any more.
    pub(crate) fn has_reported<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) {
        self.said().reported.extend(paths.into_iter().map(|path| format!("{}: ", path.display())));
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        // A poisoned lock only means that another thread failed within it.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether stdout belongs to the records.
    pub(crate) fn is_json(&self) -> bool {
        self.style == Style::Json
    }
}

impl Progress for Display {
    fn event(&self, event: Event<'_>) {
        let mut said = self.said();
        if said.before(&event) {
            return;
        }
        said.worked |= matches!(event, Event::Started { .. });
        if let Some(log) = &self.log {
            log.event(&event);
        }
        let every_step = said.every_step;
        let Some(shown) = Shown::new(&event) else { return };
        let weight = if matches!(event, Event::Advanced { .. }) { Weight::Step } else { Weight::Kept };
        let (display, now) = (self.clone(), Instant::now());
        // Still under the lock, so that the order is that of the warnings.
        output::add(weight, move || display.show(&shown.event(), now, every_step));
    }
}

impl Display {
    /// Writes what there is to say of an event that happened at `now`.
    fn show(&self, event: &Event<'_>, now: Instant, every_step: bool) {
        // A poisoned lock only means that an earlier event could not be shown.
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        (stage.now, stage.every_step) = (now, every_step);
        match self.style {
            Style::Json => json_record(&mut stage, &self.results, event),
            Style::Slicer => match event {
                Event::Message(_) | Event::Warning(_) | Event::EpochFinished(_) => stage.line_of(event),
                _ => slicer_lines(&mut stage, &self.results, event),
            },
            Style::Bar if !every_step => stage.bar_event(event),
            Style::Bar | Style::Plain => stage.plain_event(event),
            Style::None => stage.line_of(event),
        }
    }
}

impl Said {
    /// Whether the event is a warning that is known already, or is about something that was reported.
    fn before(&mut self, event: &Event<'_>) -> bool {
        let Event::Warning(text) = event else { return false };
        !self.warnings.insert((*text).to_owned()) || self.reported.iter().any(|start| text.starts_with(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_said_once_and_everything_else_each_time() {
        let mut said = Said::default();
        let mut known = |event| said.before(&event);
        assert!(!known(Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Warning("b.nii.gz: spacing guessed")));
        assert!(known(Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Message("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Finished) && !known(Event::Finished));
    }

    #[test]
    fn durations_are_said_in_the_units_that_people_use() {
        assert_eq!([3.21, 59.4, 125.0, 7260.0].map(duration), ["3.2 s", "59.4 s", "2 min 5 s", "2 h 1 min"]);
    }

    #[test]
    fn what_a_report_has_listed_is_not_said_again() {
        let mut said = Said::default();
        said.reported.insert("a.nii.gz: ".to_owned());
        assert!(said.before(&Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!said.before(&Event::Warning("a.nii.gz.json: spacing guessed")));
        assert!(!said.before(&Event::Message("a.nii.gz: preprocessed")));
    }
}
