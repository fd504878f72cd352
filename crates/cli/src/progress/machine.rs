//! Progress for other programs: JSON records, and the lines of 3D Slicer.

use nnunet::progress::Event;
use serde_json::{Map, Value, json};

use super::stage::Stage;
use crate::output::Results;

/// Writes an event as a JSON record on a line of its own.
pub(super) fn json_record(stage: &mut Stage, results: &Results, event: &Event<'_>) {
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
pub(super) fn summary_record(verb: &str, seconds: f64, peak: Option<u64>, outputs: &[String]) -> Value {
    json!({
        "event": "summary", "verb": verb, "seconds": seconds, "peak_memory_bytes": peak, "outputs": outputs
    })
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

/// A record of each kind, for the book.
#[cfg(test)]
pub(crate) fn example_records() -> Vec<Value> {
    let mut stage = Stage::new();
    let report = nnunet::progress::EpochReport {
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
        stage.now = stage.started + std::time::Duration::from_millis(2500);
    }
    records.push(summary_record("predict", 5.5, Some(1_200_000_000), &["predictions".to_owned()]));
    records
}
