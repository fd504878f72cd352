//! Weights as safetensors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet_fuzz::with_file;
use nnunet_checkpoint::read_safetensors;

fuzz_target!(|bytes: &[u8]| {
    let _ = with_file(bytes, ".safetensors", read_safetensors);
});
