//! Asking a Python for its torch.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of Python's package `torch`, without importing it.
pub(crate) fn of_python(python: &Path) -> Result<PathBuf, String> {
    const ASK: &str = "import importlib.util as u; s = u.find_spec('torch'); print(list(s.submodule_search_locations)[0] if s else '')";
    let output =
        Command::new(python).args(["-c", ASK]).stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(
            |error| match error.kind() {
                std::io::ErrorKind::NotFound => "no such program".to_owned(),
                _ => error.to_string(),
            },
        )?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim() {
        "" => Err("has no torch".to_owned()),
        folder => Ok(PathBuf::from(folder)),
    }
}
