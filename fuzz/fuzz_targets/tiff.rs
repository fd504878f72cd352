//! TIFF volumes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::tiff3d::{self, Naming};

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".tif", |path| {
        let header = tiff3d::read_shape_and_spacing(path, Naming::Segmentation);
        if let Ok(image) = tiff3d::read(path, Naming::Segmentation) {
            let (shape, _) = header.expect("the header of a readable volume is readable");
            assert_eq!(shape, image.volume.shape());
        }
    });
});
