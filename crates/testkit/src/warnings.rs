//! What a job warned of.

use std::path::Path;
use std::sync::Mutex;

use nnunet_base::progress::{Event, Progress};

/// Collects the warnings of a job.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

impl Warnings {
    /// All warnings so far, in their order.
    pub fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The warnings about a file, which they start with, without its name.
    pub fn about(&self, path: &Path) -> Vec<String> {
        let start = format!("{}: ", path.display());
        self.said().iter().filter_map(|text| text.strip_prefix(&start)).map(str::to_owned).collect()
    }
}
