//! Archives of models: all of one is installed, or nothing, and nothing outside of the results folder.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use nnunet::Ctx;
use nnunet::model_store::{install_model, installed_models};
use nnunet::progress::{Cancel, Silent};
use nnunet_fuzz::with_file;

fuzz_target!(|bytes: &[u8]| {
    with_file(bytes, ".zip", |path| {
        let around = path.with_extension("around");
        let results = around.join("results");
        fs::create_dir_all(&results).expect("memory is there");
        let names = |folder| fs::read_dir(folder).expect("it is a folder").count();
        match install_model(path, &results, false, Ctx::new(&Silent, &Cancel::new())) {
            Ok(installed) => {
                assert!(!installed.models.is_empty());
                let _ = installed_models(&results);
            }
            Err(_) => assert_eq!(names(&results), 0, "a refused archive leaves nothing"),
        }
        assert_eq!(names(&around), 1, "nothing is unpacked beside the results");
        fs::remove_dir_all(&around).expect("it can be removed");
    });
});
