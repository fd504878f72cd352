//! The record of what has left a site: a JSON object a line, one for each file of a message.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::error::FederatedError;
use crate::message::{Message, SentFile};

/// Name of the record in the folder of the preprocessed dataset.
pub const SENT_LOG: &str = "federated_sent.jsonl";

/// Adds the files of `message`, which were written to `folder`, to the record `log`.
pub(crate) fn record(
    log: &Path,
    message: &Message,
    folder: &Path,
    files: &[SentFile],
) -> Result<(), FederatedError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut lines = String::new();
    for file in files {
        let line = json!({
            "time": now,
            "federation": message.settings.name,
            "site": message.sender,
            "what": message.body.what(),
            "file": folder.join(file.name),
            "bytes": file.bytes,
            "sha256": file.sha256,
        });
        lines.push_str(&format!("{line}\n"));
    }
    let failed = || FederatedError::io(log);
    if let Some(parent) = log.parent() {
        std::fs::create_dir_all(parent).map_err(failed())?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(log).map_err(failed())?;
    file.write_all(lines.as_bytes()).map_err(failed())
}
