//! `install-model`: models from a zip archive, on this machine or behind an address.

use std::path::Path;

use anyhow::Context;
use nnunet::files::ensure_writable_folder;

use super::Entry;
use crate::download::{discard, download, is_address, verify};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::switch(&["--force"], "replace models that are already installed").within(Group::Output),
    Flag::one(&["--sha256"], "HEX", "SHA-256 checksum of the archive; nothing is installed if it differs")
        .within(Group::Input),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "install-model",
        reference_names: &[
            "nnUNetv2_install_pretrained_model_from_zip",
            "nnUNetv2_download_pretrained_model_by_url",
        ],
        summary: "install models from a zip archive or a URL",
        description: "Installs the models of an archive made by export-model or the Python nnU-Net into the results \
                      folder: all of them or, if anything is wrong, none. Rerun the command to resume an interrupted \
                      download.",
        after_interruption: "rerun the command; a download resumes",
        positionals: &[Positional {
            name: "SOURCE",
            help: "the archive: a file, or an address (http, https)",
        }],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let source = matches.required("SOURCE")?;
    let checksum = matches.text("--sha256");
    if checksum.is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(UsageError("argument --sha256: expected 64 hexadecimal digits".to_owned()).into());
    }
    let results = session.project.folders().results()?;
    // Before a download and not after it.
    ensure_writable_folder(results)
        .with_context(|| format!("{}: files cannot be written to this folder", results.display()))?;
    if !is_address(source) {
        return install(Path::new(source), results, matches, session);
    }
    let archive = download(source, results, session)?;
    let installed = install(&archive, results, matches, session);
    if !session.cancel.is_cancelled() {
        discard(&archive);
    }
    installed
}

fn install(zip: &Path, results: &Path, matches: &Matches, session: &Session) -> anyhow::Result<()> {
    if let Some(expected) = matches.text("--sha256") {
        verify(zip, expected)?;
    }
    let installed = session.project.install_model(zip, matches.has("--force"), session.ctx())?;
    for kept in &installed.kept {
        session.message(&format!("{kept} already exists and is kept (--force replaces it)"));
    }
    for model in &installed.models {
        session.message(&format!("installed {}", results.join(model).display()));
    }
    Ok(())
}
