//! Large datasets: killed runs, several machines, little memory.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::{DATASET, Place, files_below, text};
use nnunet_testkit::phantom::PhantomDataset;

/// Content of all files below a folder, by their relative names, without the records of when they were made.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = files_below(folder)
        .into_iter()
        .filter(|path| !path.parent().unwrap().ends_with("made_from"))
        .map(|path| (path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_killed_run_goes_on_and_ends_like_one_that_was_not() {
    const CASES: usize = 12;
    let place = Place::new();
    let phantom = PhantomDataset { cases: CASES, shape: [48, 64, 64], ..Default::default() };
    phantom.write(&place.path("raw"), "Dataset009_Large");
    place.succeed("plan-and-preprocess -d 9 --no_pp");
    let folder = place.path("pre/Dataset009_Large/nnUNetPlans_3d_fullres");
    let finished = || {
        let ends = |path: &&PathBuf| path.extension().is_some_and(|e| e == "pkl");
        files_below(&folder).iter().filter(ends).count()
    };

    let mut child =
        place.program("preprocess -d 9 -c 3d_fullres -np 2").stderr(Stdio::null()).spawn().unwrap();
    while finished() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its first case");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = finished();
    assert!(before < CASES, "the run was over before it could be killed");
    for path in files_below(&folder).iter().filter(|path| path.extension().is_some_and(|e| e == "pkl")) {
        let case = path.with_extension("").display().to_string();
        assert!(
            Path::new(&format!("{case}.b2nd")).is_file() && Path::new(&format!("{case}_seg.b2nd")).is_file()
        );
    }

    let output = place.run("preprocess -d 9 -c 3d_fullres");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    // A case whose record was not written yet is made again.
    let kept = (before.saturating_sub(2).max(1)..=before)
        .find(|kept| said.contains(&format!("preprocess 3d_fullres: {kept} finished cases are kept")));
    assert!(kept.is_some() || before <= 2, "{before} were finished: {said}");
    let resumed = contents(&folder);
    assert_eq!(resumed.len(), 3 * CASES, "no half-written file is left");
    let said = text(&place.run("preprocess -d 9 -c 3d_fullres").stderr);
    assert!(said.contains(&format!("{CASES} finished cases are kept")), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
    place.succeed("preprocess -d 9 -c 3d_fullres");
    assert!(resumed == contents(&folder), "files differ from those of a run that was not killed");
}

#[test]
fn several_machines_make_what_one_makes() {
    let place = Place::new();
    let folder = place.path("pre").join(DATASET);
    place.succeed("plan-and-preprocess -d 7 -c 3d_fullres");
    let alone = contents(&folder);
    std::fs::remove_dir_all(&folder).unwrap();

    let said = |words: &str| {
        let output = place.run(words);
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let waiting = said("fingerprint -d 7 --num-parts 2 --part-id 1");
    assert!(waiting.contains("part 1 is done, missing: [0]"), "{waiting}");
    assert!(!folder.join("dataset_fingerprint.json").exists());
    assert!(said("fingerprint -d 7 --num-parts 2 --part-id 0").contains("wrote "));
    said("plan -d 7");
    for part in 0..2 {
        said(&format!("preprocess -d 7 -c 3d_fullres --num-parts 2 --part-id {part}"));
    }
    assert!(alone == contents(&folder), "files differ from those of one machine");
}

#[test]
fn memory_that_does_not_do_is_refused_before_anything_is_made() {
    let place = Place::new();
    for words in ["fingerprint -d 7 --max-ram 0.0001", "plan-and-preprocess -d 7 --max-ram 0.0001"] {
        let output = place.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(said.contains("ball_000 needs") && said.contains("Raise --max-ram"), "{words}: {said}");
    }
    assert!(files_below(&place.path("pre")).is_empty());
    let said = text(&place.run("plan-and-preprocess -d 7 -c 3d_fullres --max-ram 1").stderr);
    assert!(said.contains("memory: at most about"), "{said}");
}
