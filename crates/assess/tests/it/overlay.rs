//! Overlays against those of the reference (tests/golden/overlay/make.py): every pixel equal.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use nnunet_assess::overlay::{OverlayError, OverlayRequest, preprocessed_overlays, raw_overlays};
use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::image_formats;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/overlay").join(name)
}

/// Width, colour type and bytes of a picture.
fn pixels(path: &Path) -> (u32, png::ColorType, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width, info.color_type, bytes)
}

fn same(found: &Path, expected: &str, cases: &[&str]) {
    for case in cases {
        let name = format!("{case}.png");
        assert!(
            pixels(&found.join(&name)) == pixels(&golden("expected").join(expected).join(&name)),
            "{expected} {name}"
        );
    }
    assert_eq!(std::fs::read_dir(found).unwrap().count(), cases.len());
}

#[test]
fn raw_datasets() {
    let folder = tempfile::tempdir().unwrap();
    for (dataset, expected, channel, intensity, cases) in [
        ("Dataset821_Volumes", "volumes", 0, 0.6, &["v0", "v1", "v2", "v3"][..]),
        ("Dataset821_Volumes", "second_channel", 1, 0.25, &["v0", "v1", "v2", "v3"]),
        ("Dataset822_Pictures", "pictures", 0, 0.6, &["p0", "p1"]),
    ] {
        let output = folder.path().join(expected);
        let request = OverlayRequest { output: &output, channel, intensity };
        let raw = golden("raw").join(dataset);
        assert_eq!(
            raw_overlays(&raw, &image_formats(), &request, Ctx::new(&Silent, &Cancel::new())).unwrap(),
            cases.len()
        );
        same(&output, expected, cases);
    }
}

#[test]
fn preprocessed_datasets() {
    let folder = tempfile::tempdir().unwrap();
    let request = OverlayRequest { output: folder.path(), channel: 1, intensity: 0.6 };
    let stored = golden("preprocessed/Dataset821_Volumes/nnUNetPlans_3d_fullres");
    assert_eq!(preprocessed_overlays(&stored, &request, Ctx::new(&Silent, &Cancel::new())).unwrap(), 2);
    same(folder.path(), "preprocessed", &["c0", "c1"]);
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let request = OverlayRequest { output: folder.path(), channel: 2, intensity: 0.6 };
    let cancel = Cancel::new();
    let message = |result: Result<usize, OverlayError>| result.unwrap_err().to_string();
    let raw = message(raw_overlays(
        &golden("raw/Dataset821_Volumes"),
        &image_formats(),
        &request,
        Ctx::new(&Silent, &cancel),
    ));
    assert!(
        raw.contains("4 of 4 cases") && raw.contains("case v0: channel 2 was asked for, there are 2"),
        "{raw}"
    );
    let stored = golden("preprocessed/Dataset821_Volumes/nnUNetPlans_3d_fullres");
    let stored = message(preprocessed_overlays(&stored, &request, Ctx::new(&Silent, &cancel)));
    assert!(stored.contains("case c1: channel 2"), "{stored}");
    let empty = message(preprocessed_overlays(folder.path(), &request, Ctx::new(&Silent, &cancel)));
    assert!(empty.contains("no preprocessed cases"), "{empty}");
    cancel.cancel();
    let stopped = raw_overlays(
        &golden("raw/Dataset821_Volumes"),
        &image_formats(),
        &request,
        Ctx::new(&Silent, &cancel),
    );
    assert!(matches!(stopped, Err(OverlayError::Interrupted(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
