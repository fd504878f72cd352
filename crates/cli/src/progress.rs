//! Progress on the terminal: a bar with the time left, plain lines, or JSON records for machines.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nnunet::memory::{MemoryInUse, gigabytes};
use nnunet::progress::{EpochReport, Event, Progress};
use serde_json::{Map, Value, json};

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

struct Stage {
    name: String,
    total: u64,
    started: Instant,
    last_line: Option<Instant>,
    every_step: bool,
    /// Where every line begins with the time and the memory in use: when the run began.
    stamped: Option<Instant>,
    bar: Option<ProgressBar>,
    /// When the event that is shown happened.
    now: Instant,
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

/// Time between plain lines, unless every step is wanted.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl Display {
    /// A display of the given style, with records for machines among the `results`.
    pub(crate) fn new(style: Style, results: Results, log: Option<LogFile>) -> Self {
        let (said, stage) = (Arc::default(), Arc::new(Mutex::new(Stage::new())));
        Self { style, results, log, begun: Instant::now(), said, stage }
    }
}

impl Display {
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
                _ => stage.slicer_event(&self.results, event),
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

impl Stage {
    fn new() -> Self {
        Self {
            name: String::new(),
            total: 0,
            started: Instant::now(),
            last_line: None,
            every_step: false,
            stamped: None,
            bar: None,
            now: Instant::now(),
        }
    }

    fn start(&mut self, name: &str, total: u64) {
        self.name = name.to_owned();
        self.total = total;
        self.started = self.now;
        self.last_line = None;
    }

    fn seconds(&self) -> f64 {
        self.now.saturating_duration_since(self.started).as_secs_f64()
    }

    fn bar_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { stage, total } => {
                self.finish_bar();
                self.start(stage, *total);
                let bar = ProgressBar::with_draw_target(Some(*total), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(
                    "{prefix} [{bar:30}] {pos}/{len} {elapsed_precise} eta {eta_precise} {wide_msg}",
                ) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix((*stage).to_owned());
                bar.enable_steady_tick(Duration::from_millis(500));
                self.bar = Some(bar);
            }
            Event::Advanced { done, detail } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*done);
                    bar.set_message((*detail).to_owned());
                }
            }
            Event::Finished => self.finish_bar(),
            other => self.line_of(other),
        }
    }

    /// Writes a message, a warning or the line of an epoch.
    fn line_of(&self, event: &Event<'_>) {
        match event {
            Event::Message(text) => self.write(text),
            Event::Warning(text) => self.write(&format!("warning: {text}")),
            Event::EpochFinished(report) => self.write(&epoch_line(report)),
            _ => {}
        }
    }

    /// Writes a line, above the bar if there is one.
    fn write(&self, text: &str) {
        let stamped = self.stamped.map(|begun| {
            let memory =
                MemoryInUse::of_this_process().now.map_or_else(String::new, |b| format!(" {}", gigabytes(b)));
            format!("[{:.2} s{memory}] {text}", self.now.saturating_duration_since(begun).as_secs_f64())
        });
        let text = stamped.as_deref().unwrap_or(text);
        match &self.bar {
            Some(bar) => bar.suspend(|| output::write_remark(text)),
            None => output::write_remark(text),
        }
    }

    fn finish_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn plain_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { stage, total } => {
                self.start(stage, *total);
                self.write(&format!("{stage}: 0/{total}"));
            }
            Event::Advanced { done, detail } => {
                let last = *done >= self.total;
                let due = self.every_step
                    || self
                        .last_line
                        .is_none_or(|at| self.now.saturating_duration_since(at) >= LINE_INTERVAL);
                if last || due {
                    self.last_line = Some(self.now);
                    let seconds = self.seconds();
                    let left = seconds / (*done).max(1) as f64 * self.total.saturating_sub(*done) as f64;
                    self.write(&format!(
                        "{}: {done}/{} after {seconds:.0} s, {left:.0} s left {detail}",
                        self.name, self.total
                    ));
                }
            }
            Event::Finished => {
                self.write(&format!("{}: done in {:.1} s", self.name, self.seconds()));
            }
            other => self.line_of(other),
        }
    }

    /// Progress as programs for the command-line interface of 3D Slicer report it.
    fn slicer_event(&mut self, results: &Results, event: &Event<'_>) {
        match event {
            Event::Started { stage, total } => {
                self.start(stage, *total);
                let name = escaped(stage);
                let line = format!(
                    "<filter-start><filter-name>{name}</filter-name><filter-comment>{name}</filter-comment></filter-start>\n"
                );
                results.write(&line);
            }
            Event::Advanced { done, .. } => {
                let share = (*done as f64 / self.total.max(1) as f64).min(1.0);
                results.write(&format!("<filter-progress>{share:.4}</filter-progress>\n"));
            }
            Event::Finished => {
                let (name, seconds) = (escaped(&self.name), self.seconds());
                let line = format!(
                    "<filter-end><filter-name>{name}</filter-name><filter-time>{seconds:.1}</filter-time></filter-end>\n"
                );
                results.write(&line);
            }
            _ => {}
        }
    }
}

/// Text as XML takes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A duration for people.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The line on an epoch that is complete.
pub(crate) fn epoch_line(report: &EpochReport) -> String {
    let dice: Vec<String> = report.pseudo_dice.iter().map(|&dice| rounded(dice, 4).to_string()).collect();
    format!(
        "epoch {}: train loss {}, validation loss {}, pseudo Dice [{}], moving average {}, {} s ({} % waiting for data)",
        report.epoch,
        rounded(report.train_loss, 4),
        rounded(report.validation_loss, 4),
        dice.join(", "),
        rounded(report.moving_average, 4),
        rounded(report.seconds, 1),
        rounded(100.0 * report.waiting, 1),
    )
}

/// `value` with at most `digits` decimals.
fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

fn json_record(stage: &mut Stage, results: &Results, event: &Event<'_>) {
    if let Some(record) = record(stage, event) {
        // Whoever closed the pipe does not want the records; the job itself goes on.
        results.write(&format!("{record}\n"));
    }
}

/// What `--progress json` says of an event; `None` for those of a later version of the libraries.
fn record(stage: &mut Stage, event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::Started { stage: name, total } => {
            stage.start(name, *total);
            json!({"event": "started", "stage": name, "total": total})
        }
        Event::Advanced { done, detail } => json!({
            "event": "advanced", "stage": stage.name, "done": done, "total": stage.total,
            "seconds": stage.seconds(), "detail": detail
        }),
        Event::EpochFinished(report) => {
            let mut record = Map::new();
            record.insert("event".to_owned(), "epoch_finished".into());
            record.insert("stage".to_owned(), stage.name.as_str().into());
            record.extend(report.to_json());
            record.into()
        }
        Event::Finished => json!({
            "event": "finished", "stage": stage.name, "seconds": stage.seconds()
        }),
        Event::Message(text) => json!({"event": "message", "text": text}),
        Event::Warning(text) => json!({"event": "warning", "text": text}),
        _ => return None,
    })
}

/// The record of the end of a run.
fn summary_record(verb: &str, seconds: f64, peak: Option<u64>, outputs: &[String]) -> Value {
    json!({
        "event": "summary", "verb": verb, "seconds": seconds, "peak_memory_bytes": peak, "outputs": outputs
    })
}

/// A record of each kind, for the book.
#[cfg(test)]
pub(crate) fn example_records() -> Vec<Value> {
    let mut stage = Stage::new();
    let report = EpochReport {
        epoch: 0,
        train_loss: -0.25,
        validation_loss: -0.5,
        pseudo_dice: vec![0.75, 0.5],
        moving_average: 0.625,
        is_best: true,
        learning_rate: 0.01,
        seconds: 90.5,
        waiting: 0.125,
    };
    let events = [
        Event::Started { stage: "predict liver_01 (1 of 2)", total: 8 },
        Event::Advanced { done: 3, detail: "" },
        Event::EpochFinished(&report),
        Event::Finished,
        Event::Message("memory: at most about 1.2 GB (largest case liver_01)"),
        Event::Warning("liver_02.nii.gz: sform and qform disagree; the sform is used"),
    ];
    let mut records = Vec::new();
    for event in &events {
        records.extend(record(&mut stage, event));
        stage.now = stage.started + Duration::from_millis(2500);
    }
    records.push(summary_record("predict", 5.5, Some(1_200_000_000), &["predictions".to_owned()]));
    records
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
