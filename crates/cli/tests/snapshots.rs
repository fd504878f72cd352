//! Help pages and errors word for word, with exit statuses, as they are in `tests/snapshots`.
//!
//! After a change of words, `NNUNET_UPDATE_SNAPSHOTS=1 cargo test -p nnunet-cli --test snapshots` writes them anew; look
//! at the difference before it is committed.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write;
use std::path::Path;

use common::{DATASET, Place, text};
use nnunet_testkit::model::ball_model;

/// Fails unless `found` is what the file `name` holds, or writes it there if that is asked for.
fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("NNUNET_UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    // Git may have made the line ends of Windows.
    let expected = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let first = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        expected == found,
        "{name} is not up to date (NNUNET_UPDATE_SNAPSHOTS=1 cargo test -p nnunet-cli --test snapshots writes it): \
         the first lines that differ are {first:#?}"
    );
}

/// The verbs that the program's help page lists.
fn verbs(page: &str) -> Vec<String> {
    let list = page.lines().skip_while(|line| *line != "Verbs:").skip(1).take_while(|line| !line.is_empty());
    let rows = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    rows.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn help() {
    let place = Place::new();
    let page = place.succeed("--help");
    compare("help.txt", &page);
    let verbs = verbs(&page);
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        compare(&format!("help/{verb}.txt"), &place.succeed(&format!("{verb} --help")));
    }
}

#[test]
fn errors() {
    let place = Place::new();
    let copy = |file: &str| {
        let target = place.path("model").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(ball_model().join(file), target).unwrap();
    };
    ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"].iter().for_each(|file| copy(file));
    std::fs::write(place.path("file"), "").unwrap();
    let images = format!("raw/{DATASET}/imagesTr");
    let predict = format!("predict -i {images} -o out");
    let mut found = String::new();
    for words in [
        "predct -i a -o b",
        "nnUNetv2_predct -i a -o b",
        "something-else",
        "predict --contiue_prediction",
        "predict -i a -o b",
        "train 7 3d_fullres",
        "train 7 3d_fullres x",
        "train 7 3d_fullres 0 -tr nnUNetTrainer_5epoch",
        "train 7 3d_fullres 0 -tr nnUNetTrainerMine",
        "train 7 3d_fullres 0 --epochs many",
        "plan -d 70",
        "plan -d 7",
        &format!("{predict} -m nowhere"),
        &format!("{predict} -m model/fold_0"),
        &format!("{predict} -m model/fold_0/checkpoint_final.pth"),
        &format!("{predict} -m model -f 3"),
        &format!("{predict} -m model -chk checkpoint_best.pth"),
        &format!("predict -i {images} -o file/out -m model"),
        &format!("evaluate raw/{DATASET}/labelsTr raw/{DATASET}/labelsTr -l 1 -o raw"),
        &format!("evaluate raw/{DATASET}/labelsTr raw/{DATASET}/labelsTr -l 1 -o file/summary.json"),
        "export-model -d 7 -o model.zip",
        "install-model nowhere.zip",
    ] {
        let output = place.run(words);
        let root = place.folder.path().canonicalize().unwrap();
        let said = text(&output.stderr);
        let said = [root.as_path(), place.folder.path()]
            .iter()
            .fold(said, |said, folder| said.replace(&folder.display().to_string(), "ROOT"));
        let status = output.status.code().unwrap();
        writeln!(found, "$ nnunet {words}\n{}\nexit status {status}\n", said.trim_end()).unwrap();
    }
    compare("errors.txt", &found);
}
