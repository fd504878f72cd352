//! What the tests of the program share: a place with the three folders and a phantom dataset.

// Helpers of tests fail the test by panicking; not every test file uses all of them.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nnunet_testkit::phantom::PhantomDataset;
use serde_json::{Value, json};

/// Name of the phantom dataset.
pub const DATASET: &str = "Dataset007_Balls";

/// The three folders, with a phantom dataset in the first.
pub struct Place {
    /// Everything is in here.
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        PhantomDataset::default().write(&place.path("raw"), DATASET);
        place
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The program with the folders in its environment; `words` are its arguments.
    pub fn program(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nnunet"));
        command
            .args(words.split_whitespace())
            .env("nnUNet_raw", self.path("raw"))
            // Windows shells leave quotes around values.
            .env("nnUNet_preprocessed", format!("\"{}\"", self.path("pre").display()))
            .env("nnUNet_results", self.path("res"))
            .current_dir(self.folder.path());
        command
    }

    pub fn run(&self, words: &str) -> Output {
        self.program(words).output().unwrap()
    }

    pub fn succeed(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Plans and preprocesses, then writes plans with a network that trains in milliseconds.
    pub fn prepare(&self) {
        self.succeed("plan-and-preprocess -d 7 -c 3d_fullres");
        self.write_plans("tiny", |_| ());
    }

    /// Writes plans like nnUNetPlans.json, with a tiny network and `change` applied, as `name`.
    pub fn write_plans(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let folder = self.path("pre").join(DATASET);
        let read = std::fs::read(folder.join("nnUNetPlans.json")).unwrap();
        let mut plans: Value = serde_json::from_slice(&read).unwrap();
        plans["plans_name"] = json!(name);
        nnunet_testkit::plans::shrink(&mut plans["configurations"]["3d_fullres"]);
        change(&mut plans);
        std::fs::write(folder.join(format!("{name}.json")), plans.to_string()).unwrap();
    }
}

/// Bytes of a stream as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All files in a folder and its subfolders.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
