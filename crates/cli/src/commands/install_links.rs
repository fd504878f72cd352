//! `install-links`: makes the program answer to the reference's names.

use std::path::Path;

use anyhow::{Context, bail};

use super::{ENTRIES, Entry};
use crate::flags::{Command, Matches, Positional};
use crate::session::Session;

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "install-links",
        reference_names: &[],
        summary: "create links named nnUNetv2_* to this program",
        description: "Creates a symbolic link to this program in DIR for every nnUNetv2_* program that it replaces, so \
                      that scripts and the 3D Slicer extension find them. Links of an earlier run are renewed; other \
                      files with these names are left alone and reported.",
        after_interruption: Command::START_AGAIN,
        positionals: &[Positional { name: "DIR", help: "folder of the links, made if it does not exist" }],
        flags: &[],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let folder = Path::new(matches.required("DIR")?);
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let mut foreign = Vec::new();
    for name in ENTRIES.iter().flat_map(|entry| entry.spec.reference_names) {
        let link = folder.join(name);
        match std::fs::symlink_metadata(&link) {
            Ok(found) if found.is_symlink() => {
                std::fs::remove_file(&link)
                    .with_context(|| format!("{}: the old link cannot be removed", link.display()))?;
            }
            Ok(_) => {
                foreign.push(link.display().to_string());
                continue;
            }
            Err(_) => {}
        }
        symlink(&program, &link).with_context(|| format!("{}: the link cannot be made", link.display()))?;
        session.result(&format!("{} -> {}", link.display(), program.display()));
    }
    if !foreign.is_empty() {
        bail!("not replaced, because they are files and not links: {}", foreign.join(", "));
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Symbolic links need a privilege on Windows; a copy serves as well.
#[cfg(not(unix))]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::fs::copy(target, link).map(|_| ())
}
