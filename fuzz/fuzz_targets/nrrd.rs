//! NRRD: text header and voxels in one file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_volume::formats::nrrd;

fuzz_target!(|bytes: &[u8]| {
    let _ = with_file(bytes, ".nrrd", |path| nrrd::read(path));
});
