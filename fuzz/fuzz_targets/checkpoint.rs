//! Checkpoints of PyTorch, all forms. A pickle alone is packed into a zip archive, whose checksum a change of its
//! bytes would not survive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::{with_file, zip_of};
use nnunet_checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let packed = bytes.starts_with(b"\x80").then(|| {
        zip_of(&[
            ("a/data.pkl", bytes),
            ("a/data/0", &[1; 288]),
            ("a/data/1", &[1; 16]),
            ("a/data/2", &[1; 8]),
        ])
    });
    for bytes in [Some(bytes), packed.as_deref()].into_iter().flatten() {
        with_file(bytes, ".pth", |path| {
            let _ = Checkpoint::read(path);
            let _ = Checkpoint::read_for_inference(path);
        });
    }
});
