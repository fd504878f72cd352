//! The optional folder of large references beside the checkout. Tests on it run where it exists.

use std::path::PathBuf;

/// `relative` inside the reference folder (`NNUNET_SHARED`, else `../shared` beside the checkout).
/// `None`, with a line on stderr that names the skipped check, where it does not exist.
pub fn shared_path(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("NNUNET_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} does not exist (NNUNET_SHARED names the folder of references)", path.display());
    None
}
