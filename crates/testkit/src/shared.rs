//! The optional folder of large references next to the checkout. Tests on it run where it exists.

use std::path::PathBuf;

use crate::skip::skip;

/// `relative` inside the reference folder (`NNUNET_SHARED`, else `../shared` next to the checkout).
/// `None` where it does not exist; the check is then recorded as skipped.
pub fn shared_path(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("NNUNET_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{relative} is not in the folder of references (../shared, or NNUNET_SHARED)"));
    None
}
