//! Whether results can be written, asked before a download and not after it.

use std::path::Path;

use anyhow::Context;
use nnunet::files::ensure_writable_folder;

/// Fails if no files can be written to `folder`, which need not exist.
pub(super) fn check_folder(folder: &Path) -> anyhow::Result<()> {
    ensure_writable_folder(folder)
        .with_context(|| format!("{}: files cannot be written to this folder", folder.display()))
}
