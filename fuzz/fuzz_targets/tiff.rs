//! TIFF volumes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_volume::formats::tiff3d::{self, Naming};

fuzz_target!(|bytes: &[u8]| {
    let _ = with_file(bytes, ".tif", |path| tiff3d::read(path, Naming::Segmentation));
});
