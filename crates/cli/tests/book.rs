//! The book in `docs/`: its commands run, its outputs are those it shows, and its links lead somewhere.
//!
//! Blocks of a page fenced as `sh` run one after the other, as one script, in a place of their own with phantoms (see [`write_data`]).
//! The lines of a block fenced as `console` must be in the output of the block before it; `...` stands for lines that are left out.
//! Four kinds of blocks do not run here, and say so: `sh download` needs the network, `sh cluster` a cluster or a container engine,
//! `sh data` data that the phantoms are not, `sh hippocampus` the folder of large references. Of these, verbs and flags are checked.
//!
//! The program is called through a script that shortens what takes hours: trainings to one epoch of two iterations.

// Pages are scripts for a shell.
#![cfg(unix)]
// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::text;
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};
use nnunet_testkit::shared::shared_path;

/// Trainings become short ones; their results get the name that they have in the book.
const SHORTENED: &str = r#"#!/usr/bin/env bash
set -euo pipefail
program="PROGRAM"
short=(--iterations-per-epoch 2 --batch-size 2)
case "$1" in
  train)
    [[ " $* " == *" --iterations-per-epoch "* ]] && short=()
    if [[ " $* " == *" --epochs "* ]]; then exec "$program" "$@" "${short[@]}"; fi
    "$program" "$@" "${short[@]}" --epochs 1
    for model in "$nnUNet_results"/*/*_1epoch__*; do
      named=${model/_1epoch__/__}
      mkdir -p "$named" && cp -r "$model"/. "$named"/ && rm -r "$model"
    done ;;
  experiment)
    sed -i 's/^epochs = .*/epochs = 1/; s/^iterations_per_epoch = .*/iterations_per_epoch = 2/' "$2"
    exec "$program" "$@" ;;
  demo) exec "$program" "$@" --short ;;
  *) exec "$program" "$@" ;;
esac
"#;

/// Begins the output of a block.
const MARK: &str = "@@ block";

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").canonicalize().unwrap()
}

/// A fenced block.
struct Block {
    /// The words behind the fence.
    kind: String,
    /// Its line in the page, from 1.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block { kind: kind.trim().to_owned(), line: number + 1, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block that does not end");
    blocks
}

/// The pages that SUMMARY.md lists, in their order.
fn pages() -> Vec<String> {
    let summary = std::fs::read_to_string(source().join("SUMMARY.md")).unwrap();
    // Chapters without a page are planned.
    links(&summary).into_iter().filter(|page| !page.is_empty()).collect()
}

/// Targets of the links in a page, without blocks of code.
fn links(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page's headings, as mdBook makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    page.lines().filter(|line| line.starts_with('#')).map(heading).collect()
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_listed() {
    let root = source();
    let listed: BTreeSet<PathBuf> = pages().iter().map(|page| root.join(page)).collect();
    let mut there: BTreeSet<PathBuf> =
        common::files_below(&root).into_iter().filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    there.remove(&root.join("SUMMARY.md"));
    assert_eq!(listed, there, "SUMMARY.md lists every page");
    let mut broken = Vec::new();
    for path in &there {
        let page = std::fs::read_to_string(path).unwrap();
        for link in links(&page) {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let found = std::fs::read_to_string(&target);
            let leads = match (&found, anchor) {
                (Ok(text), Some(anchor)) => anchors(text).contains(anchor),
                (found, _) => found.is_ok() || target.is_dir(),
            };
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What pages work on: `raw/Dataset001_Abdomen` with test cases, a folder of `scans`, a trained `model`, and downloads as the BraTS
/// challenge has them in `BraTS2023`.
fn write_data(place: &Path) {
    let labels = r#""labels": {"background": 0, "liver": 1, "tumour": 2}"#;
    let phantom = PhantomDataset { cases: 6, ..PhantomDataset::default() };
    let dataset = phantom.write(&place.join("raw"), "Dataset001_Abdomen");
    let json = format!(
        r#"{{"channel_names": {{"0": "MRI"}}, {labels}, "numTraining": 6, "file_ending": ".nii.gz"}}"#
    );
    std::fs::write(dataset.join("dataset.json"), json).unwrap();
    for case in 0..2 {
        let name = format!("test_{case}");
        phantom.write_case(&dataset.join("imagesTs"), &dataset.join("labelsTs"), &name, 40 + case);
        phantom.write_case(
            &place.join("scans"),
            &place.join("scans_labels"),
            &format!("new_{case}"),
            50 + case,
        );
    }
    for file in ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"] {
        let target = place.join("model").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(ball_model().join(file), target).unwrap();
    }
    write_brats(&place.join("BraTS2023"), 5);
    write_brats(&place.join("BraTS2023_new"), 1);
}

/// Cases of the BraTS challenge: four contrasts and three nested labels.
fn write_brats(folder: &Path, cases: usize) {
    let shape = [24usize, 28, 26];
    for case in 0..cases {
        let name = format!("BraTS-GLI-{case:05}-000");
        let label = |z: usize, y: usize, x: usize| {
            let square = |at: usize, size: usize| (at as f32 - size as f32 / 2.0 - case as f32 * 0.3).powi(2);
            let distance = (square(z, shape[0]) + square(y, shape[1]) + square(x, shape[2])).sqrt();
            match distance {
                d if d < 3.0 => 1u8,
                d if d < 5.0 => 3,
                d if d < 8.0 => 2,
                _ => 0,
            }
        };
        let mut labels = Vec::new();
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                labels.extend((0..shape[2]).map(|x| label(z, y, x)));
            }
        }
        for (contrast, suffix) in ["t1n", "t1c", "t2w", "t2f"].iter().enumerate() {
            let value = |(at, label): (usize, &u8)| {
                let noise = (at * 7919 + contrast * 31 + case) % 23;
                (100 + 40 * (usize::from(*label) + contrast) % 170 + noise) as i16
            };
            let voxels = labels.iter().enumerate().map(value).collect();
            NiftiFile::new(shape, [1.0; 3], Voxels::I16(voxels))
                .write(folder.join(&name).join(format!("{name}-{suffix}.nii.gz")));
        }
        NiftiFile::new(shape, [1.0; 3], Voxels::U8(labels))
            .write(folder.join(&name).join(format!("{name}-seg.nii.gz")));
    }
}

/// Runs the blocks of a page; what is wrong with it.
fn run_page(name: &str, page: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    write_data(place);
    let bin = place.join(".bin");
    std::fs::create_dir(&bin).unwrap();
    let shim = bin.join("nnunet");
    std::fs::write(&shim, SHORTENED.replace("PROGRAM", env!("CARGO_BIN_EXE_nnunet"))).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&shim).status().unwrap().success());
    let hippocampus = shared_path("data/Dataset004_Hippocampus");
    if let Some(data) = &hippocampus {
        assert!(Command::new("ln").arg("-s").arg(data).arg(place.join("raw")).status().unwrap().success());
    }
    let mut faults = Vec::new();
    // One script, so that variables and folders of a block are there in the next one; its output is cut at the marks.
    let blocks = blocks(page);
    let runs = |kind: &str| kind == "sh" || (kind == "sh hippocampus" && hippocampus.is_some());
    let mut script = "set -euo pipefail\nexec 2>&1\n".to_owned();
    for (number, block) in blocks.iter().enumerate().filter(|(_, block)| runs(&block.kind)) {
        script.push_str(&format!("echo '{MARK} {number}'\n{}", block.text));
    }
    std::fs::write(place.join(".page.sh"), script).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .arg(".page.sh")
        .current_dir(place)
        .env("PATH", path)
        .env("HOME", place)
        .env("nnUNet_raw", place.join("raw"))
        .env("nnUNet_preprocessed", place.join("preprocessed"))
        .env("nnUNet_results", place.join("results"))
        .output()
        .unwrap();
    let all = text(&output.stdout);
    let said: Vec<(usize, &str)> = all
        .split(&format!("{MARK} "))
        .filter_map(|part| part.split_once('\n'))
        .filter_map(|(number, said)| Some((number.parse().ok()?, said)))
        .collect();
    if !output.status.success() {
        let (number, said) = said.last().copied().unwrap_or_default();
        faults.push(format!("{name}:{}: {}\n{said}", blocks[number].line, output.status));
        return faults;
    }
    let mut before: Option<&str> = None;
    for (number, block) in blocks.iter().enumerate() {
        let at = format!("{name}:{}", block.line);
        match block.kind.as_str() {
            "sh" | "sh hippocampus" => {
                before = said.iter().find(|(of, _)| *of == number).map(|(_, said)| *said)
            }
            "sh download" | "sh cluster" | "sh data" => {
                before = None;
                faults.extend(unknown_words(block).map(|fault| format!("{at}: {fault}")));
            }
            "console" => {
                let Some(said) = before else { continue };
                let shown =
                    block.text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "...");
                let said: Vec<&str> = said.lines().map(str::trim).collect();
                faults.extend(
                    shown
                        .filter(|line| !said.contains(line))
                        .map(|line| format!("{at}: {line:?} is not in\n{}", said.join("\n"))),
                );
            }
            "" => faults.push(format!("{at}: a block without a kind")),
            kind if kind.starts_with("sh") => faults.push(format!("{at}: {kind:?} is no kind of commands")),
            _ => {}
        }
    }
    faults
}

/// What is wrong with the verbs and flags of a block that does not run.
fn unknown_words(block: &Block) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    let joined = block.text.replace("\\\n", " ");
    for line in joined.lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let Some(at) = words.iter().position(|word| *word == "nnunet") else { continue };
        let Some(verb) = words.get(at + 1).filter(|verb| !verb.starts_with('.')) else { continue };
        let page = Command::new(env!("CARGO_BIN_EXE_nnunet")).args([verb, "--help"]).output().unwrap();
        if !page.status.success() {
            faults.push(format!("{verb:?} is no verb"));
            continue;
        }
        let page = text(&page.stdout);
        let known: BTreeSet<&str> = page.split([' ', ',', '\n']).collect();
        let flags = words[at + 2..].iter().filter(|word| word.starts_with('-'));
        let flags = flags.map(|flag| flag.split('=').next().unwrap_or_default());
        faults.extend(flags.filter(|flag| !known.contains(flag)).map(|flag| format!("{verb} has no {flag}")));
    }
    faults.into_iter()
}

#[test]
fn every_command_runs() {
    let only = std::env::var("NNUNET_BOOK_PAGE").ok();
    let mut faults = Vec::new();
    for name in pages() {
        // Reference pages have no commands to run.
        if name.starts_with("reference/") || only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let page = std::fs::read_to_string(source().join(&name)).unwrap();
        faults.extend(run_page(&name, &page));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
