//! The stage that is shown: as a bar, or as plain lines.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nnunet::memory::{MemoryInUse, gigabytes};
use nnunet::progress::Event;

use super::words::epoch_line;
use crate::output;

/// Time between plain lines, unless every step is wanted.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The stage that is shown.
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) total: u64,
    pub(super) started: Instant,
    last_line: Option<Instant>,
    pub(super) every_step: bool,
    /// Where every line begins with the time and the memory in use: when the run began.
    pub(super) stamped: Option<Instant>,
    bar: Option<ProgressBar>,
    /// When the event that is shown happened.
    pub(super) now: Instant,
}

impl Stage {
    pub(super) fn new() -> Self {
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

    pub(super) fn start(&mut self, name: &str, total: u64) {
        self.name = name.to_owned();
        self.total = total;
        self.started = self.now;
        self.last_line = None;
    }

    pub(super) fn seconds(&self) -> f64 {
        self.now.saturating_duration_since(self.started).as_secs_f64()
    }

    pub(super) fn bar_event(&mut self, event: &Event<'_>) {
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
    pub(super) fn line_of(&self, event: &Event<'_>) {
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

    pub(super) fn plain_event(&mut self, event: &Event<'_>) {
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
}
