//! Preprocessed arrays: the whole and a part, as both element types that the pipeline reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::b2nd::B2ndReader;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".b2nd", |path| {
        let Ok(array) = B2ndReader::open(path) else { return };
        let _ = array.read_all::<f32>();
        let _ = array.read_all::<i16>();
        let start: Vec<usize> = array.shape().iter().map(|n| n / 2).collect();
        let part: Vec<usize> = array.shape().iter().map(|n| n.div_ceil(2).min(9)).collect();
        let _ = array.read_region::<f32>(&start, &part);
    });
});
