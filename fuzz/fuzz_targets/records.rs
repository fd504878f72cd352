//! The smaller JSON files and pickles: splits, fingerprints, postprocessing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet::dataset::splits;
use nnunet::fingerprint::Fingerprint;
use nnunet::postprocess::{Postprocessing, postprocessings};
use nnunet_fuzz::with_file;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".json", |path| {
        let _ = splits::load(path);
        let _ = Fingerprint::load(path);
        let _ = Postprocessing::read(path, &postprocessings());
    });
    let _ = with_file(bytes, ".pkl", |path| Postprocessing::read(path, &postprocessings()));
});
