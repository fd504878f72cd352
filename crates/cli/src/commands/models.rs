//! `models`: what is installed.

use super::Entry;
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "models",
        reference_names: &[],
        summary: "list the trained and installed models",
        description: "Lists every model in the results folder with its folds, the size of its checkpoints, its spacing, \
                      channels and classes.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(_matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let models = session.project.models()?;
    if models.is_empty() {
        let results = session.project.folders().results()?;
        session.message(&format!("no models in {}", results.display()));
    }
    for model in models {
        let folds = if model.folds.is_empty() { "none".to_owned() } else { model.folds.join(" ") };
        session.result(&format!("{}/{}", model.dataset, model.name));
        session.result(&format!("  folds {folds}, checkpoints {}", size(model.checkpoint_bytes)));
        match model.about {
            Ok(facts) => {
                let spacing: Vec<_> = facts.spacing.iter().map(|mm| format!("{}", round(*mm))).collect();
                session.result(&format!(
                    "  spacing {} mm, channels {}",
                    spacing.join(" x "),
                    facts.channels.join(", ")
                ));
                session.result(&format!("  {} classes: {}", facts.classes.len(), facts.classes.join(", ")));
            }
            Err(problem) => session.warning(&problem),
        }
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Spacings come from f32 headers; four digits are what a reader wants.
fn round(mm: f64) -> f64 {
    (mm * 1e4).round() / 1e4
}
