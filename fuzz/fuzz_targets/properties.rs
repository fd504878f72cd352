//! Pickled properties of a preprocessed case; what is read can be written and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nnunet::preprocess::Properties;
use nnunet_pyformats::pickle::{Protocol, pickle, unpickle};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = unpickle(bytes) else { return };
    let Ok(properties) = Properties::from_pickle(value) else { return };
    let again = pickle(&properties.to_pickle(), Protocol::Four).expect("what was read can be written");
    let again = unpickle(&again).expect("what was written can be read");
    Properties::from_pickle(again).expect("properties come back");
});
