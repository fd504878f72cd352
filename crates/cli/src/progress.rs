//! Progress on the terminal: a bar with the time left, plain lines, or JSON records for machines.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nnunet::progress::{Event, Progress};
use serde_json::json;

use crate::flags::Flag;
use crate::output::{self, Results};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A bar with the time left.
    Bar,
    /// A line now and then.
    Plain,
    /// One JSON object a line on stdout.
    Json,
    /// Warnings and messages only.
    None,
}

impl Style {
    /// A bar on a terminal, plain lines otherwise.
    pub(crate) fn default_for_terminal() -> Self {
        if output::remarks_on_terminal() { Style::Bar } else { Style::Plain }
    }
}

impl FromStr for Style {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "bar" => Ok(Style::Bar),
            "plain" => Ok(Style::Plain),
            "json" => Ok(Style::Json),
            "none" => Ok(Style::None),
            _ => Err(()),
        }
    }
}

/// The flag for it, for every verb that takes time.
pub(crate) const PROGRESS_FLAGS: &[Flag] = &[Flag::one(
    &["--progress"],
    "STYLE",
    "bar, plain, json (one record a line on stdout) or none; default: bar on a terminal, plain otherwise",
)];

/// Shows events. Messages go to stderr, JSON records to stdout.
#[derive(Clone)]
pub(crate) struct Display {
    style: Style,
    results: Results,
    stage: Arc<Mutex<Stage>>,
}

struct Stage {
    name: String,
    total: u64,
    started: Instant,
    last_line: Option<Instant>,
    /// Whether every step has a line, on a terminal too.
    every_step: bool,
    bar: Option<ProgressBar>,
    /// Warnings so far: several stages look at the same files, and each remark is made once.
    warnings: HashSet<String>,
    /// Beginnings (`PATH: `) of warnings about files and folders that a report has listed.
    reported: HashSet<String>,
}

/// Time between plain lines, unless every step is wanted.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl Display {
    /// A display of the given style, with records for machines among the `results`.
    pub(crate) fn new(style: Style, results: Results) -> Self {
        Self { style, results, stage: Arc::new(Mutex::new(Stage::new())) }
    }
}

impl Display {
    /// From now on every step has a line of its own instead of a bar or a line now and then.
    pub(crate) fn show_every_step(&self) {
        self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).every_step = true;
    }

    /// A report has listed what is to be said about `paths`: warnings about them are not shown any more.
    pub(crate) fn has_reported<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) {
        let mut stage = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        stage.reported.extend(paths.into_iter().map(|path| format!("{}: ", path.display())));
    }

    /// Whether stdout belongs to the records.
    pub(crate) fn is_json(&self) -> bool {
        self.style == Style::Json
    }
}

impl Progress for Display {
    fn event(&self, event: Event<'_>) {
        // A poisoned lock only means that another thread failed while it printed.
        let mut stage = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if stage.said_before(&event) {
            return;
        }
        match self.style {
            Style::Json => json_record(&mut stage, &self.results, &event),
            Style::Bar if !stage.every_step => stage.bar_event(&event),
            Style::Bar | Style::Plain => stage.plain_event(&event),
            Style::None => match event {
                Event::Message(text) => output::remark(text),
                Event::Warning(text) => output::remark(&format!("warning: {text}")),
                Event::EpochFinished { .. } => output::remark(&epoch_line(&event)),
                _ => {}
            },
        }
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
            bar: None,
            warnings: HashSet::new(),
            reported: HashSet::new(),
        }
    }

    fn start(&mut self, name: &str, total: u64) {
        self.name = name.to_owned();
        self.total = total;
        self.started = Instant::now();
        self.last_line = None;
    }

    /// Whether the event is a warning that is known already, or is about something that was reported.
    fn said_before(&mut self, event: &Event<'_>) -> bool {
        let Event::Warning(text) = event else { return false };
        !self.warnings.insert((*text).to_owned()) || self.reported.iter().any(|start| text.starts_with(start))
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
            Event::Message(text) => self.above_bar(text),
            Event::Warning(text) => self.above_bar(&format!("warning: {text}")),
            Event::EpochFinished { .. } => self.above_bar(&epoch_line(event)),
            _ => {}
        }
    }

    fn above_bar(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::remark(text)),
            None => output::remark(text),
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
                output::remark(&format!("{stage}: 0/{total}"));
            }
            Event::Advanced { done, detail } => {
                let last = *done >= self.total;
                let due = self.last_line.is_none_or(|at| self.every_step || at.elapsed() >= LINE_INTERVAL);
                if last || due {
                    self.last_line = Some(Instant::now());
                    let seconds = self.started.elapsed().as_secs_f64();
                    let left = seconds / (*done).max(1) as f64 * self.total.saturating_sub(*done) as f64;
                    output::remark(&format!(
                        "{}: {done}/{} after {seconds:.0} s, {left:.0} s left {detail}",
                        self.name, self.total
                    ));
                }
            }
            Event::Finished => {
                output::remark(&format!(
                    "{}: done in {:.1} s",
                    self.name,
                    self.started.elapsed().as_secs_f64()
                ));
            }
            Event::Message(text) => output::remark(text),
            Event::Warning(text) => output::remark(&format!("warning: {text}")),
            Event::EpochFinished { .. } => output::remark(&epoch_line(event)),
            _ => {}
        }
    }
}

/// The line on an epoch that is complete; empty for other events.
fn epoch_line(event: &Event<'_>) -> String {
    let Event::EpochFinished {
        epoch,
        train_loss,
        validation_loss,
        pseudo_dice,
        moving_average,
        seconds,
        waiting,
        ..
    } = event
    else {
        return String::new();
    };
    let dice: Vec<String> = pseudo_dice.iter().map(|&dice| rounded(dice, 4).to_string()).collect();
    format!(
        "epoch {epoch}: train loss {}, validation loss {}, pseudo Dice [{}], moving average {}, {} s ({} % waiting for \
         data)",
        rounded(*train_loss, 4),
        rounded(*validation_loss, 4),
        dice.join(", "),
        rounded(*moving_average, 4),
        rounded(*seconds, 1),
        rounded(100.0 * waiting, 1),
    )
}

/// `value` with at most `digits` decimals.
fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

fn json_record(stage: &mut Stage, results: &Results, event: &Event<'_>) {
    let record = match event {
        Event::Started { stage: name, total } => {
            stage.start(name, *total);
            json!({"event": "started", "stage": name, "total": total})
        }
        Event::Advanced { done, detail } => json!({
            "event": "advanced", "stage": stage.name, "done": done, "total": stage.total,
            "seconds": stage.started.elapsed().as_secs_f64(), "detail": detail
        }),
        Event::EpochFinished {
            epoch,
            train_loss,
            validation_loss,
            pseudo_dice,
            moving_average,
            is_best,
            learning_rate,
            seconds,
            waiting,
        } => json!({
            "event": "epoch_finished", "stage": stage.name, "epoch": epoch, "train_loss": train_loss,
            "validation_loss": validation_loss, "pseudo_dice": pseudo_dice, "moving_average": moving_average,
            "is_best": is_best, "learning_rate": learning_rate, "seconds": seconds, "waiting": waiting
        }),
        Event::Finished => json!({
            "event": "finished", "stage": stage.name, "seconds": stage.started.elapsed().as_secs_f64()
        }),
        Event::Message(text) => json!({"event": "message", "text": text}),
        Event::Warning(text) => json!({"event": "warning", "text": text}),
        _ => return,
    };
    // Whoever closed the pipe does not want the records; the job itself goes on.
    results.line(&record.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_said_once_and_everything_else_each_time() {
        let mut stage = Stage::new();
        let mut known = |event| stage.said_before(&event);
        assert!(!known(Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Warning("b.nii.gz: spacing guessed")));
        assert!(known(Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Message("a.nii.gz: spacing guessed")));
        assert!(!known(Event::Finished) && !known(Event::Finished));
    }

    #[test]
    fn what_a_report_has_listed_is_not_said_again() {
        let mut stage = Stage::new();
        stage.reported.insert("a.nii.gz: ".to_owned());
        assert!(stage.said_before(&Event::Warning("a.nii.gz: spacing guessed")));
        assert!(!stage.said_before(&Event::Warning("a.nii.gz.json: spacing guessed")));
        assert!(!stage.said_before(&Event::Message("a.nii.gz: preprocessed")));
    }
}
