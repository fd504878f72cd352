//! Progress for other programs: JSON records, and the lines of 3D Slicer.

use nnunet::progress::Event;
use serde_json::{Map, json};

use super::stage::Stage;
use crate::output::Results;

/// Writes an event as a JSON record on a line of its own.
pub(super) fn json_record(stage: &mut Stage, results: &Results, event: &Event<'_>) {
    let record = match event {
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
        _ => return,
    };
    // Whoever closed the pipe does not want the records; the job itself goes on.
    results.write(&format!("{record}\n"));
}

/// Progress as programs for the command-line interface of 3D Slicer report it.
pub(super) fn slicer_lines(stage: &mut Stage, results: &Results, event: &Event<'_>) {
    match event {
        Event::Started { stage: name, total } => {
            stage.start(name, *total);
            let name = escaped(name);
            let line = format!(
                "<filter-start><filter-name>{name}</filter-name><filter-comment>{name}</filter-comment></filter-start>\n"
            );
            results.write(&line);
        }
        Event::Advanced { done, .. } => {
            let share = (*done as f64 / stage.total.max(1) as f64).min(1.0);
            results.write(&format!("<filter-progress>{share:.4}</filter-progress>\n"));
        }
        Event::Finished => {
            let (name, seconds) = (escaped(&stage.name), stage.seconds());
            let line = format!(
                "<filter-end><filter-name>{name}</filter-name><filter-time>{seconds:.1}</filter-time></filter-end>\n"
            );
            results.write(&line);
        }
        _ => {}
    }
}

/// Text as XML takes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
