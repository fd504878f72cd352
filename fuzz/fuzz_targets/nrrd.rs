//! NRRD: text header and voxels in one file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::nrrd;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".nrrd", |path| {
        let header = nrrd::read_geometry(path);
        if let Ok(image) = nrrd::read(path) {
            let (shape, _) = header.expect("the header of a readable image is readable");
            assert_eq!(shape, image.volume.shape());
        }
    });
});
