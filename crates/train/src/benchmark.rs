//! Trainings that are there to be timed: `benchmark_result.json`, as the reference's benchmark trainers write it.

use std::io::ErrorKind;
use std::path::Path;

use nnunet_base::files::write_atomic;
use nnunet_dataset::splits::Fold;
use nnunet_pyformats::json::{Json, KeyOrder};

use super::error::TrainError;
use super::history::History;
use super::setup::Setup;

/// What the file says of a training that failed.
const FAILED: &str = "the training ended with an error, see its log";

/// Refuses to time anything but fold 0, so that the results of several machines lie at the same place.
///
/// # Errors
/// Another fold.
pub(super) fn check_fold(fold: Fold) -> Result<(), TrainError> {
    match fold {
        Fold::Number(0) => Ok(()),
        found => Err(TrainError::BenchmarkFold { found: found.to_string() }),
    }
}

/// Adds the fastest epoch of this machine to the results in the fold's folder; `None` for a training that failed.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_result(setup: &Setup, history: Option<&History>) -> Result<(), TrainError> {
    let path = setup.folder.fold().join("benchmark_result.json");
    let text = |value: &str| Json::String(value.to_owned());
    let backend = &setup.request.backend;
    let (host, program) = (host_name(), concat!("nnunet-", env!("CARGO_PKG_VERSION")));
    let computed: Vec<String> =
        backend.describe().into_iter().map(|(key, value)| format!("{key}_{value}")).collect();
    let key = format!("{host}__{program}__{}__{}", backend.name(), computed.join("__"));
    let mut entries = vec![
        ("hostname", text(&host)),
        ("program", text(program)),
        ("device", text(backend.name())),
        ("fastest_epoch", history.and_then(fastest_epoch).map_or_else(|| text(FAILED), Json::from)),
    ];
    let described = backend.describe();
    entries.extend(described.iter().map(|(key, value)| (*key, text(value))));
    let mut results = earlier(&path)?;
    results.retain(|(known, _)| *known != key);
    results.push((key, Json::object(entries)));
    let document = Json::object(results.iter().map(|(key, value)| (key.as_str(), value.clone())));
    write_atomic(&path, document.to_python(KeyOrder::Kept).as_bytes())
        .map_err(|source| TrainError::Io { path, source })
}

/// Seconds of the fastest epoch.
fn fastest_epoch(history: &History) -> Option<f64> {
    let ends = history.epoch_end_timestamps.iter();
    ends.zip(&history.epoch_start_timestamps).map(|(end, start)| end - start).min_by(f64::total_cmp)
}

/// The results that are there already.
fn earlier(path: &Path) -> Result<Vec<(String, Json)>, TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(io)?,
    };
    match Json::parse(&text) {
        Ok(Json::Object(entries)) => Ok(entries.into_iter().collect()),
        _ => Err(io(std::io::Error::new(
            ErrorKind::InvalidData,
            "not a JSON object with results; move it away",
        ))),
    }
}

/// The name of the machine, as Linux and most other systems keep it in a file.
fn host_name() -> String {
    let name =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|p| std::fs::read_to_string(p).ok());
    let name = name.unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}
