//! The only place that writes to stdout and stderr.
//!
//! Whoever reads them may go away: `| head`, a lost connection. Remarks on stderr are then dropped, and the work goes
//! on; it is never worth less because nobody listens. Results on stdout are dropped, too, if their reader has left, as
//! other tools do; any other failure to write them, as on a full disk, makes the program fail in the end.
#![allow(clippy::disallowed_methods)]

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;

/// Writes a line to stderr, if anybody reads it.
pub(crate) fn remark(text: &str) {
    // One call, so that lines of several threads or processes do not mix.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Whether somebody looks at stderr.
pub(crate) fn remarks_on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Results on stdout; clones share what became of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Results {
    /// Writes a line, unless writing failed before.
    pub(crate) fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes text as it is, unless writing failed before.
    pub(crate) fn text(&self, text: &str) {
        let mut failure = self.failure();
        if failure.is_none() {
            let mut out = io::stdout().lock();
            *failure = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
        }
    }

    /// Whether all results could be written. That the reader has left is no failure.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        match &*self.failure() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(anyhow!("the results could not be written to stdout: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
