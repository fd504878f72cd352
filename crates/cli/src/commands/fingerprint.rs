//! `fingerprint`: what a dataset looks like.

use super::Entry;
use super::dataset_flags::{
    self, CLEAN, DATASETS, FINGERPRINT_EXTRACTOR, NO_PROGRESS_BAR, THREADS, VERBOSE, VERIFY, apply_verbose,
    check_extractor, datasets,
};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] = &[DATASETS, VERIFY, CLEAN, FINGERPRINT_EXTRACTOR, THREADS, NO_PROGRESS_BAR, VERBOSE];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "fingerprint",
        reference_names: &["nnUNetv2_extract_fingerprint"],
        summary: "extract a dataset's fingerprint: shapes, spacings, intensities",
        description: "Reads all training cases once and writes dataset_fingerprint.json into the dataset's \
                      folder of preprocessed data.",
        positionals: &[],
        flags: &[FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    check_extractor(matches)?;
    apply_verbose(matches, session);
    for dataset in datasets(matches, session)? {
        let verify = matches.has("--verify_dataset_integrity");
        dataset_flags::fingerprint(&dataset, verify, matches.has("--clean"), session)?;
    }
    Ok(())
}
