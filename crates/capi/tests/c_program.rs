//! A program in C, compiled against the header and linked with the library, predicts a file and an array.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use nnunet_image_io::nifti;
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::PhantomDataset;

/// The library that was built with this test.
fn library() -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    let found = ["", ".."].iter().map(|up| folder.join(up).join("libnnunet_c.a")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("libnnunet_c.a is not beside {}", folder.display()))
}

#[test]
fn the_header_declares_every_function() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(folder.join("include/nnunet.h")).unwrap();
    let mut names = Vec::new();
    for file in ["lib.rs", "error.rs", "predict.rs"] {
        let source = std::fs::read_to_string(folder.join("src").join(file)).unwrap();
        for line in source.lines().filter(|line| line.contains("extern \"C\" fn nnunet_")) {
            let name = line.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            assert!(header.contains(&format!("{name}(")), "{name}");
            names.push(name.to_owned());
        }
    }
    assert_eq!(names.len(), 8, "{names:?}");
}

#[cfg(unix)]
#[test]
fn a_program_in_c_predicts() {
    if Command::new("cc").arg("--version").output().is_err() {
        return nnunet_testkit::skip::skip("there is no C compiler (cc)");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    PhantomDataset::default().write_case(folder.path(), &at("labels"), "ball", 77);
    let input = at("ball_0000.nii.gz");
    let image = nifti::read(&input).unwrap().volume;
    let raw: Vec<u8> = image.data().iter().flat_map(|v| v.to_ne_bytes()).collect();
    std::fs::write(at("raw"), raw).unwrap();

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = at("program");
    let compiled = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(here.join("tests/program.c"))
        .arg("-I")
        .arg(here.join("include"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm"])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let output = at("ball.nii.gz");
    let ran = Command::new(&program)
        .arg(ball_model())
        .arg(&input)
        .arg(&output)
        .args(image.shape().map(|edge| edge.to_string()))
        .arg(at("raw"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // Array and file are the same image, so the segmentations are the same.
    let labels = nifti::read(&output).unwrap().volume;
    let foreground = labels.data().iter().filter(|&&label| label != 0.0).count();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), foreground.to_string());
    let truth = nifti::read(at("labels").join("ball.nii.gz")).unwrap().volume;
    let equal = labels.data().iter().zip(truth.data()).filter(|(a, b)| a == b).count();
    assert!(equal as f64 > 0.9 * truth.data().len() as f64, "{equal} of {}", truth.data().len());
}
