//! `fingerprint`: what a dataset looks like.

use nnunet::FingerprintJob;

use super::dataset_flags::{
    self, CLEAN, DATASETS, FINGERPRINT_EXTRACTOR, MAX_RAM, NO_PROGRESS_BAR, PART_FLAGS, THREADS, VERBOSE,
    VERIFY, apply_verbose, check_extractor, datasets, part,
};
use super::{Entry, verify};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Matches};
use crate::progress::PROGRESS_FLAGS;
use crate::session::Session;

const FLAGS: &[Flag] =
    &[DATASETS, VERIFY, CLEAN, FINGERPRINT_EXTRACTOR, THREADS, MAX_RAM, NO_PROGRESS_BAR, VERBOSE];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "fingerprint",
        reference_names: &["nnUNetv2_extract_fingerprint"],
        summary: "extract the fingerprint of a dataset: shapes, spacings, intensities",
        description: "Reads all training cases once and writes dataset_fingerprint.json into the dataset's folder of \
                      preprocessed data. With --num-parts, several machines that share the folders each read a part of \
                      the cases; the one that finds all parts finished writes the fingerprint, which is the same.",
        after_interruption: Command::START_AGAIN,
        positionals: &[],
        flags: &[FLAGS, PART_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    check_extractor(matches)?;
    apply_verbose(matches, session);
    let part = part(matches)?;
    for dataset in datasets(matches, session)? {
        if matches.has(VERIFY.key()) {
            verify::check(&dataset, session)?;
        }
        let job = FingerprintJob { dataset, anew: matches.has(CLEAN.key()), part };
        dataset_flags::fingerprint(&job, session)?;
    }
    Ok(())
}
