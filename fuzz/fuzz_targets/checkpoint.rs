//! Checkpoints of PyTorch, both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_network::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".pth", |path| {
        let _ = Checkpoint::read(path);
        let _ = Checkpoint::read_for_inference(path);
    });
});
