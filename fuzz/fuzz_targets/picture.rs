//! PNG and BMP; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_volume::formats::natural_image;

fuzz_target!(|bytes: &[u8]| {
    let ending = if bytes.starts_with(b"BM") { ".bmp" } else { ".png" };
    let _ = with_file(bytes, ending, |path| natural_image::read(path));
});
