//! NIfTI, plain and compressed, with the conventions of SimpleITK and of nibabel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_image_io::nifti;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".nii", |path| {
        let header = nifti::read_geometry(path);
        if let Ok(image) = nifti::read(path) {
            let (shape, _) = header.expect("the header of a readable image is readable");
            assert_eq!(shape, image.volume.shape());
        }
        for reoriented in [false, true] {
            let header = nifti::nibabel::read_shape_and_spacing(path, reoriented);
            let image =
                if reoriented { nifti::nibabel::read_reoriented(path) } else { nifti::nibabel::read(path) };
            if let Ok(image) = image {
                let (shape, _) = header.expect("the header of a readable image is readable");
                assert_eq!(shape, image.volume.shape());
            }
        }
    });
});
