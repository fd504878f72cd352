//! MetaImage: text header and voxels in one file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::metaimage;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".mha", |path| {
        let header = metaimage::read_geometry(path);
        if let Ok(image) = metaimage::read(path) {
            let (shape, _) = header.expect("the header of a readable image is readable");
            assert_eq!(shape, image.volume.shape());
        }
    });
});
