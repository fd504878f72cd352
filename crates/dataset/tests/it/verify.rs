//! Checking datasets with every kind of fault, through the public interface.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::image_formats;
use nnunet_dataset::verify::{Problem, Report, verify};
use nnunet_image_io::tiff3d;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, PhantomLabels, Voxels, gzip};
use nnunet_testkit::shared::shared_path;
use nnunet_volume::{SpacingMm, Volume};

fn check(folder: &Path) -> Report {
    verify(folder, |_| None, &image_formats(), Ctx::new(&Silent, &Cancel::new()))
}

/// A sound dataset of six cases with two channels.
fn dataset() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let phantom =
        PhantomDataset { cases: 6, channels: 2, shape: [8, 9, 10], margin: 1, ..Default::default() };
    let folder = phantom.write(root.path(), "Dataset001_Balls");
    (root, folder)
}

fn messages(report: &Report) -> Vec<String> {
    let with_hint = |fault: &nnunet_dataset::verify::Fault| match Hint::of(&fault.problem) {
        Some(hint) => format!("{fault}. {hint}"),
        None => fault.to_string(),
    };
    report.faults.iter().map(with_hint).collect()
}

/// The messages about one case, or of none for "".
fn of(report: &Report, case: &str) -> Vec<String> {
    let wanted = |fault: &&nnunet_dataset::verify::Fault| fault.case.as_deref().unwrap_or("") == case;
    report.faults.iter().filter(wanted).map(ToString::to_string).collect()
}

fn image(shape: [usize; 3], value: i16) -> NiftiFile {
    NiftiFile::new(shape, [1.0; 3], Voxels::I16(vec![value; shape.iter().product()]))
}

fn label(shape: [usize; 3], values: &[f32]) -> NiftiFile {
    let mut voxels = vec![0.0; shape.iter().product()];
    voxels[..values.len()].copy_from_slice(values);
    NiftiFile::new(shape, [1.0; 3], Voxels::F32(voxels))
}

#[test]
fn a_sound_dataset_has_no_faults() {
    let (_root, folder) = dataset();
    let report = check(&folder);
    assert!(report.is_usable() && report.faults.is_empty(), "{:?}", messages(&report));
    assert_eq!(report.cases, 6);
    for labels in [PhantomLabels::Regions, PhantomLabels::Ignore] {
        let root = tempfile::tempdir().unwrap();
        let folder =
            PhantomDataset { cases: 1, labels, ..Default::default() }.write(root.path(), "Dataset002_X");
        assert!(check(&folder).faults.is_empty());
    }
}

#[test]
fn every_case_needs_its_patient_where_patients_are_named() {
    let (_root, folder) = dataset();
    let table = |cases: &[usize]| {
        let lines: Vec<String> = cases.iter().map(|case| format!("ball_{case:03}\tP{}", case / 2)).collect();
        fs::write(folder.join("patients.tsv"), lines.join("\n")).unwrap();
    };
    table(&[0, 1, 2, 3, 4, 5]);
    let report = check(&folder);
    assert!(report.faults.is_empty(), "{:?}", messages(&report));
    table(&[0, 1, 2, 4, 5, 6]);
    let report = check(&folder);
    assert!(!report.is_usable());
    let messages = messages(&report);
    assert_eq!(messages.len(), 1, "{messages:?}");
    for part in ["patients.tsv", "have no patient: ball_003", "not among the training cases: ball_006"] {
        assert!(messages[0].contains(part), "{messages:?}");
    }
}

#[test]
fn dataset004_is_sound() {
    let Some(folder) = shared_path("data/Dataset004_Hippocampus") else { return };
    let report = check(&folder);
    assert_eq!(report.cases, 201);
    assert!(report.is_usable(), "{:?}", messages(&report));
}

#[test]
fn all_faults_are_reported_at_once() {
    let (_root, folder) = dataset();
    let image_of =
        |case: usize, channel: usize| folder.join(format!("imagesTr/ball_{case:03}_{channel:04}.nii.gz"));
    let label_of = |case: usize| folder.join(format!("labelsTr/ball_{case:03}.nii.gz"));
    // 0: a missing channel, no label. 1: wrong shape of a channel, unexpected and fractional labels.
    fs::remove_file(image_of(0, 1)).unwrap();
    fs::remove_file(label_of(0)).unwrap();
    image([8, 8, 8], 5).write(image_of(1, 0));
    image([8, 8, 7], 5).write(image_of(1, 1));
    label([8, 8, 8], &[1.0, 2.0, 7.0, 0.5, 1.5]).write(label_of(1));
    // 2: truncated, and not a NIfTI. 3: four dimensions, no voxels.
    let whole = fs::read(image_of(2, 0)).unwrap();
    fs::write(image_of(2, 0), &whole[..whole.len() / 2]).unwrap();
    fs::write(image_of(2, 1), b"a text file").unwrap();
    let mut four = image([4, 4, 4], 5);
    four.dims = vec![4, 4, 2, 2];
    four.spacing = vec![1.0; 4];
    four.write(image_of(3, 0));
    let mut empty = image([1, 1, 1], 5);
    empty.dims = vec![0, 4, 4];
    empty.write(image_of(3, 1));
    // 4: NaN, skewed axes, other spacing and origin of the label, no foreground.
    let mut nan = label([4, 4, 4], &[1.0, f32::NAN, f32::INFINITY]);
    nan.write(image_of(4, 0));
    nan.voxels = Voxels::F32(vec![0.0; 64]);
    nan.spacing = vec![1.0, 1.0, 1.5];
    nan.sform = [[1., 0., 0., 0.], [0., 1., 0., 20.], [0., 0., 1.5, 0.]];
    nan.write(label_of(4));
    let mut skewed = image([4, 4, 4], 5);
    skewed.sform = [[1., 0.5, 0., 0.], [0., 0.866, 0., 0.], [0., 0., 1., 0.]];
    skewed.write(image_of(4, 1));
    // Files of no case; a count that is wrong; a channel too many.
    image([4, 4, 4], 5).write(folder.join("labelsTr/nobody.nii.gz"));
    image([4, 4, 4], 5).write(folder.join("imagesTr/stray.nii.gz"));
    fs::copy(image_of(5, 1), image_of(5, 2)).unwrap();
    let json = folder.join("dataset.json");
    let text = fs::read_to_string(&json).unwrap().replace("\"numTraining\": 6", "\"numTraining\": 9");
    fs::write(&json, text).unwrap();

    let report = check(&folder);
    let expect = |case: &str, parts: &[&str]| {
        let found = of(&report, case);
        assert_eq!(found.len(), parts.len(), "{case}: {found:#?}");
        for part in parts {
            assert!(found.iter().any(|m| m.contains(part)), "{case}: {part:?} not in {found:#?}");
        }
    };
    expect(
        "",
        &[
            "numTraining is 9, but there are 6 cases",
            "stray.nii.gz: the name has no channel",
            "nobody.nii.gz: the label has no image",
        ],
    );
    expect(
        "ball_000",
        &["ball_000_0001.nii.gz: channel 1 is missing", "labelsTr/ball_000.nii.gz: the image has no label"],
    );
    expect(
        "ball_001",
        &[
            "ball_001_0001.nii.gz: shape [8, 8, 7] (z, y, x), but ",
            "has the values 7, which dataset.json does not declare; expected [0, 1, 2]",
            "2 voxels are not integers, e.g. 0.5",
        ],
    );
    expect("ball_002", &["ball_002_0000.nii.gz: ", "ball_002_0001.nii.gz: not a NIfTI file"]);
    expect(
        "ball_003",
        &["shape [4, 4, 2, 2] (x, y, z, ...), expected three dimensions", "ball_003_0001.nii.gz: "],
    );
    expect(
        "ball_004",
        &[
            "2 voxels are NaN or infinite",
            "warning: case ball_004: ",
            "direction [",
            "spacing [1.5, 1.0, 1.0] mm (z, y, x), but ",
            "origin [",
            "ball_004.nii.gz: has no foreground at all",
            "ball_004.nii.gz: labels are stored as F32",
        ],
    );
    expect("ball_005", &["ball_005_0002.nii.gz: channel 2 is not declared: dataset.json has 2 channels"]);
    assert!(!report.is_usable());
    assert!(report.errors() < report.faults.len(), "some are warnings");
    let skew = |f: &nnunet_dataset::verify::Fault| matches!(f.problem, Problem::Unusual(_));
    assert!(report.faults.iter().any(skew), "axes that are not at right angles are read with a warning");
}

#[test]
fn an_unusable_dataset_json_is_a_fault_like_others() {
    let (_root, folder) = dataset();
    let json = folder.join("dataset.json");
    let faults = |text: &str| {
        fs::write(&json, text).unwrap();
        let report = check(&folder);
        assert!(!report.is_usable());
        messages(&report).join("\n")
    };
    assert!(faults("{").contains("not valid JSON: line 1, column 2"));
    assert!(
        faults(r#"{"modality": {"0": "CT"}, "labels": {"0": "background"}}"#).contains("Convert the dataset")
    );
    let several = faults(
        r#"{"channel_names": {"0": "a", "2": "b"}, "labels": {"background": 0, "x": 2}, "file_ending": ".nii.gz"}"#,
    );
    for part in
        ["channel_names has the keys \"0\", \"2\"", "label values are [0, 2]", "\"numTraining\" is missing"]
    {
        assert!(several.contains(part), "{several}");
    }
    fs::remove_file(&json).unwrap();
    assert!(messages(&check(&folder))[0].contains("cannot read: No such file"));
}

#[test]
fn an_empty_folder_says_so() {
    let (_root, folder) = dataset();
    fs::remove_dir_all(folder.join("imagesTr")).unwrap();
    fs::create_dir(folder.join("imagesTr")).unwrap();
    assert!(
        messages(&check(&folder))[0]
            .contains("no cases; expected files named CASE_0000.nii.gz; the folder is empty")
    );
}

#[test]
fn listed_cases_are_checked_like_found_ones() {
    let (_root, folder) = dataset();
    let text = r#"{"channel_names": {"0": "a"}, "labels": {"background": 0, "x": 1, "y": 2}, "file_ending": ".nii.gz",
        "numTraining": 2, "dataset": {
        "one": {"images": ["imagesTr/ball_000_0000.nii.gz"], "label": "labelsTr/ball_000.nii.gz"},
        "two": {"images": ["imagesTr/nowhere.nii.gz", "imagesTr/ball_001_0001.nii.gz"], "label": "labelsTr/ball_001.nii.gz"}}}"#;
    fs::write(folder.join("dataset.json"), text).unwrap();
    let report = check(&folder);
    assert!(of(&report, "one").is_empty());
    let two = of(&report, "two").join("\n");
    assert!(two.contains("2 images are listed, but dataset.json has 1 channels"), "{two}");
    assert!(two.contains("nowhere.nii.gz: channel 0 is missing"), "{two}");

    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(folder.join("labelsTr"), elsewhere.path().join("seg")).unwrap();
    fs::write(folder.join("dataset.json"), text.replace("labelsTr", "${SEGMENTATIONS}/seg")).unwrap();
    assert!(!of(&check(&folder), "one").is_empty());
    let place = |name: &str| (name == "SEGMENTATIONS").then(|| elsewhere.path().display().to_string());
    assert!(
        of(&verify(&folder, place, &image_formats(), Ctx::new(&Silent, &Cancel::new())), "one").is_empty()
    );
}

#[test]
fn an_interrupted_check_proves_nothing() {
    let (_root, folder) = dataset();
    let cancel = Cancel::new();
    cancel.cancel();
    let report = verify(&folder, |_| None, &image_formats(), Ctx::new(&Silent, &cancel));
    assert!(report.interrupted && !report.is_usable());
}

#[test]
fn truncated_by_any_amount_is_unreadable_never_a_panic() {
    let (_root, folder) = dataset();
    let path = folder.join("imagesTr/ball_000_0000.nii.gz");
    let raw = image([4, 4, 4], 5).bytes();
    for length in [0, 1, 100, 347, 352, raw.len() - 1] {
        fs::write(&path, gzip(&raw[..length])).unwrap();
        let report = check(&folder);
        assert!(
            matches!(report.faults[0].problem, Problem::Unreadable(_)),
            "{length}: {:?}",
            messages(&report)
        );
    }
}

#[test]
fn where_the_reference_goes_on_there_are_warnings_only() {
    let (_root, folder) = dataset();
    let json = folder.join("dataset.json");
    let text = fs::read_to_string(&json).unwrap();
    // Channels that count from 1, a label nobody needs, and NaN in a NIfTI file, which ITK reads as 0.
    let text = text.replace("\"1\":", "\"2\":").replace("\"0\":", "\"1\":");
    fs::write(&json, text).unwrap();
    label([3, 3, 3], &[1.0]).write(folder.join("labelsTr/nobody.nii.gz"));
    let path = folder.join("imagesTr/ball_000_0000.nii.gz");
    let read = nnunet_image_io::nifti::read(&path).unwrap();
    let (shape, mut voxels) = (read.volume.shape(), read.volume.into_data());
    voxels[40] = f32::NAN;
    NiftiFile::new(shape, [1.0; 3], Voxels::F32(voxels)).write(&path);

    let report = check(&folder);
    let said = messages(&report);
    assert!(report.is_usable(), "{said:?}");
    for words in ["channel_names has the keys", "nobody.nii.gz: the label has no image", "1 voxels are NaN"] {
        assert_eq!(said.iter().filter(|line| line.contains(words)).count(), 1, "{words:?} in {said:?}");
    }
    assert!(said.iter().all(|line| line.starts_with("warning: ")), "{said:?}");

    // Nibabel leaves NaN as it is, and nothing can be made of that.
    let text = fs::read_to_string(&json).unwrap();
    let text = text.replacen('{', "{\"overwrite_image_reader_writer\": \"NibabelIO\", ", 1);
    fs::write(&json, text).unwrap();
    let report = check(&folder);
    assert!(!report.is_usable());
    assert!(of(&report, "ball_000").iter().any(|l| l.starts_with("error: ") && l.contains("is NaN at [0, ")));
}

#[test]
fn many_missing_spacing_files_are_one_row_and_a_few_one_each() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let write = |cases: std::ops::Range<usize>| {
        for case in cases {
            for name in [format!("imagesTr/c{case}_0000.tif"), format!("labelsTr/c{case}.tif")] {
                fs::create_dir_all(folder.join(&name).parent().unwrap()).unwrap();
                tiff3d::write_labels(folder.join(&name), &Volume::filled([5, 8, 9], 1u8), SpacingMm::UNIT)
                    .unwrap();
            }
        }
        for entry in ["imagesTr", "labelsTr"].iter().flat_map(|part| fs::read_dir(folder.join(part)).unwrap())
        {
            let path = entry.unwrap().path();
            if path.extension().unwrap() == "json" {
                fs::remove_file(path).unwrap();
            }
        }
    };
    fs::write(
        folder.join("dataset.json"),
        r#"{"channel_names": {"0": "x"}, "labels": {"background": 0, "a": 1}, "numTraining": 5, "file_ending": ".tif",
            "overwrite_image_reader_writer": "Tiff3DIO"}"#,
    )
    .unwrap();
    write(0..1);
    let few = of(&check(folder), "c0");
    assert!(
        few.len() == 2 && few.iter().all(|text| text.contains("there is no spacing file c0.json")),
        "{few:?}"
    );
    write(1..5);
    let report = check(folder);
    let said = messages(&report);
    assert!(report.is_usable() && said.len() == 1, "{said:?}");
    assert!(
        said[0].contains("10 of 10 images have no spacing file (c0.json, c1.json, c2.json, ...)"),
        "{said:?}"
    );
}

/// The dataset with further entries in its dataset.json.
fn with_entries(folder: &Path, entries: &str) {
    let path = folder.join("dataset.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replacen('{', &format!("{{{entries}, "), 1)).unwrap();
}

#[test]
fn optional_channels_may_lack_files_and_the_others_may_not() {
    let (_root, folder) = dataset();
    with_entries(&folder, r#""optional_channels": ["MR1"]"#);
    for (case, channel) in [(0, 1), (1, 0)] {
        fs::remove_file(folder.join(format!("imagesTr/ball_{case:03}_{channel:04}.nii.gz"))).unwrap();
    }
    let report = check(&folder);
    assert_eq!(messages(&report).len(), 1, "{:?}", messages(&report));
    assert!(of(&report, "ball_001")[0].contains("ball_001_0000.nii.gz: channel 0 is missing"));
}

#[test]
fn labels_that_were_not_annotated_and_cases_that_are_not_there_are_named() {
    let (_root, folder) = dataset();
    let entry =
        r#""annotated_labels": {"cases": {"ball_002": ["core"], "ball_2": ["core"], "ball_003": []}}"#;
    with_entries(&folder, entry);
    let report = check(&folder);
    assert!(of(&report, "")[0].contains("annotated_labels names cases that do not exist: ball_2"));
    let only = |what: &str| {
        format!("annotated_labels says that only {what} was annotated; they count as background")
    };
    let [core, none] = [of(&report, "ball_002"), of(&report, "ball_003")];
    assert!(
        core[0].starts_with("warning") && core[0].ends_with(&format!("the values 1, but {}", only("core"))),
        "{core:?}"
    );
    assert!(none[0].ends_with(&format!("the values 1, 2, but {}", only("nothing"))), "{none:?}");
    assert_eq!(messages(&report).len(), 3);
}
