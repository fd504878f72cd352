//! What the program says when something is wrong, and with which status it ends.

use std::fmt;

use nnunet::hint::{Hint, join};
use nnunet::train::TrainError;

use crate::{hints, interrupt};

/// The words of the command line do not fit the verb: exit status 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Ctrl-C or a request to terminate ended the run: exit status 130. The text says what became of the work and how to
/// go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interrupted(String);

impl Interrupted {
    /// What `error` says, and what is to be done next unless it says that, too.
    pub(crate) fn new(error: &anyhow::Error, advice: &str) -> Self {
        let text = describe(error);
        // Only the training knows whether and where it has saved its state.
        let knows = matches!(
            hints::training_of(error),
            Some(TrainError::Interrupted { .. } | TrainError::ValidationInterrupted { .. })
        );
        Self(if knows { text } else { format!("{text}; {advice}") })
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Whether a run that was asked to stop did so for this reason, and not because something else went wrong.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    nnunet::progress::Interrupted::caused(error.as_ref())
}

/// Exit status for an error of the program.
pub(crate) fn exit_status(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() {
        2
    } else if error.is::<Interrupted>() {
        interrupt::STATUS
    } else {
        1
    }
}

/// The last thing that the program says if it does not succeed.
pub(crate) fn last_line(error: &anyhow::Error) -> String {
    if error.is::<Interrupted>() { describe(error) } else { format!("error: {}", describe(error)) }
}

/// One line for the error, its causes joined with colons, and what to do about it.
fn describe(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().filter(|cause| !cause.is::<Hint>()) {
        let text = cause.to_string();
        // Library errors often repeat their source; say it once.
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    match hints::for_error(error) {
        Some(words) => join(&line, &words),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use nnunet::evaluate::EvaluateError;
    use nnunet::preprocess::PreprocessError;

    use super::*;

    #[test]
    fn an_interruption_says_what_to_do_next_once() {
        let advice = "rerun the command to resume";
        let source = nnunet::progress::Interrupted;
        let error = Err::<(), _>(PreprocessError::Interrupted { done: 2, total: 5, source });
        let error = error.context("preprocessing of Dataset007_Balls").unwrap_err();
        assert!(is_interruption(&error));
        let text = Interrupted::new(&error, advice).0;
        assert!(
            text.starts_with("preprocessing of Dataset007_Balls: interrupted after 2 of 5 cases"),
            "{text}"
        );
        assert!(text.ends_with(&format!("; {advice}")), "{text}");

        let path = std::path::PathBuf::from("fold_0/checkpoint_latest.pth");
        let error = anyhow!(nnunet::Error::from(TrainError::Interrupted { path: Some(path), source }))
            .context("training");
        let text = Interrupted::new(&error, advice).0;
        assert!(text.ends_with("Rerun the command with --c to continue from there"), "{text}");
        assert!(!text.contains(advice), "{text}");
        let error = anyhow!(TrainError::ValidationInterrupted { checkpoint: true, source });
        let text = Interrupted::new(&error, "rerun the command with --val to validate").0;
        assert_eq!(text.matches("--val").count(), 1, "{text}");
        // An error of another stage within it.
        assert!(is_interruption(&anyhow!(TrainError::Evaluate(EvaluateError::Interrupted(source)))));
    }

    #[test]
    fn other_errors_of_a_run_that_was_asked_to_stop_are_not_hidden() {
        let error = anyhow!("interrupted: no space left on device");
        assert!(!is_interruption(&error.context("training")));
    }
}
