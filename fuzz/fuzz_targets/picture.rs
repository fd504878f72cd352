//! PNG, BMP and flat TIFF; the first bytes choose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::natural_image;

fuzz_target!(|bytes: &[u8]| {
    let ending = match bytes {
        [b'B', b'M', ..] => ".bmp",
        [b'I' | b'M', ..] => ".tif",
        _ => ".png",
    };
    with_file(bytes, ending, |path| {
        let header = natural_image::read_shape(path);
        if let Ok(image) = natural_image::read(path) {
            let (channels, shape) = header.expect("the header of a readable picture is readable");
            assert_eq!((channels, shape), (image.channels.channels(), image.channels.shape()));
        }
    });
});
