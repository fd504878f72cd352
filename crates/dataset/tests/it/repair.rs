//! Repairs: what is mended, what is left, and that originals stay.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_dataset::image_formats;
use nnunet_dataset::repair::{Outcome, repair};
use nnunet_dataset::verify::{Problem, Report, verify};
use nnunet_image_io::VoxelType;
use nnunet_image_io::nifti;
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};

const SHAPE: [usize; 3] = [4, 5, 6];

fn check(folder: &Path) -> Report {
    verify(folder, |_| None, &image_formats(), Ctx::new(&Silent, &Cancel::new()))
}

/// A sound dataset of three cases on one grid.
fn dataset() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = PhantomDataset { cases: 3, ..Default::default() }.write(root.path(), "Dataset001_Balls");
    for case in 0..3 {
        let image = folder.join(format!("imagesTr/ball_{case:03}_0000.nii.gz"));
        NiftiFile::new(SHAPE, [3.0, 1.0, 1.0], Voxels::I16(vec![7; 120])).write(image);
        label_file(Voxels::U8(labels())).write(label(&folder, case));
    }
    assert!(check(&folder).faults.is_empty());
    (root, folder)
}

fn labels() -> Vec<u8> {
    (0..120).map(|i| (i % 3) as u8).collect()
}

fn label_file(voxels: Voxels) -> NiftiFile {
    NiftiFile::new(SHAPE, [3.0, 1.0, 1.0], voxels)
}

fn label(folder: &Path, case: usize) -> PathBuf {
    folder.join(format!("labelsTr/ball_{case:03}.nii.gz"))
}

/// The label map with its origin moved by `distance` mm and its spacing along z stretched by `stretch`.
fn displaced(distance: f32, stretch: f32) -> NiftiFile {
    let mut file = label_file(Voxels::U8(labels()));
    file.sform[0][3] = distance;
    file.sform[2][2] *= stretch;
    file.spacing[2] *= stretch;
    file
}

#[test]
fn places_that_differ_by_rounding_become_those_of_the_images() {
    let (_root, folder) = dataset();
    displaced(0.02, 1.001).write(label(&folder, 0));
    let before = fs::read(label(&folder, 0)).unwrap();
    displaced(0.3, 1.0).write(label(&folder, 1));
    displaced(0.0, 1.1).write(label(&folder, 2));
    let untouched: Vec<_> = (1..3).map(|case| fs::read(label(&folder, case)).unwrap()).collect();
    let report = check(&folder);
    assert_eq!(report.faults.len(), 4, "{report:?}");

    let outcomes = repair(&folder, &report, &image_formats());
    for (fault, outcome) in report.faults.iter().zip(&outcomes) {
        let expected =
            if fault.case.as_deref() == Some("ball_000") { Outcome::Repaired } else { Outcome::Left };
        assert_eq!(*outcome, expected, "{fault}");
    }
    let (mended, image) = (
        nifti::read(label(&folder, 0)).unwrap(),
        nifti::read(folder.join("imagesTr/ball_000_0000.nii.gz")).unwrap(),
    );
    assert_eq!(mended.geometry, image.geometry);
    assert!(mended.volume.data().iter().zip(labels()).all(|(found, label)| *found == f32::from(label)));
    let kept = folder.join("labelsTr/ball_000.nii.gz.before_repair");
    assert_eq!(fs::read(&kept).unwrap(), before);
    for (case, bytes) in (1..3).zip(untouched) {
        assert_eq!(fs::read(label(&folder, case)).unwrap(), bytes);
    }
    assert_eq!(check(&folder).faults.len(), 2);

    // A second repair does not take the mended file for the original.
    displaced(0.01, 1.0).write(label(&folder, 0));
    assert_eq!(repair(&folder, &check(&folder), &image_formats())[0], Outcome::Repaired);
    assert_eq!(fs::read(&kept).unwrap(), before);
}

#[test]
fn whole_numbers_become_integers_and_counts_become_right() {
    let (_root, folder) = dataset();
    let real = |change: &dyn Fn(&mut Vec<f32>)| {
        let mut voxels = labels().into_iter().map(f32::from).collect();
        change(&mut voxels);
        label_file(Voxels::F32(voxels))
    };
    real(&|_| ()).write(label(&folder, 0));
    real(&|voxels| voxels[5] = 1.5).write(label(&folder, 1));
    real(&|voxels| voxels[5] = -1.0).write(label(&folder, 2));
    let json = folder.join("dataset.json");
    let text = fs::read_to_string(&json).unwrap();
    fs::write(&json, text.replace("\"numTraining\": 3", "\"numTraining\": 9, \"licence\": \"CC0\"")).unwrap();

    let report = check(&folder);
    let outcomes = repair(&folder, &report, &image_formats());
    let of = |wanted: &dyn Fn(&Problem) -> bool| -> Vec<&Outcome> {
        report.faults.iter().zip(&outcomes).filter(|(f, _)| wanted(&f.problem)).map(|(_, o)| o).collect()
    };
    assert_eq!(of(&|p| matches!(p, Problem::NumTraining { .. })), [&Outcome::Repaired]);
    assert_eq!(of(&|p| matches!(p, Problem::NonIntegerLabels { .. })), [&Outcome::Left]);
    let real = of(&|p| matches!(p, Problem::RealLabels { .. }));
    assert_eq!(real[0], &Outcome::Repaired);
    assert!(matches!(real[1], Outcome::Failed(reason) if reason.contains("label -1 ")), "{real:?}");
    let mended = nifti::read(label(&folder, 0)).unwrap();
    assert_eq!(mended.stored_type, VoxelType::U8);
    assert!(mended.volume.data().iter().zip(labels()).all(|(found, label)| *found == f32::from(label)));
    assert!(!folder.join("labelsTr/ball_002.nii.gz.before_repair").exists());
    let text = fs::read_to_string(&json).unwrap();
    assert!(text.contains("\"numTraining\": 3") && text.contains("\"licence\": \"CC0\""), "{text}");
    assert!(folder.join("dataset.json.before_repair").exists());

    fs::write(&json, text.replace("\"numTraining\": 3,", "")).unwrap();
    assert_eq!(repair(&folder, &check(&folder), &image_formats())[0], Outcome::Repaired);
    assert!(fs::read_to_string(&json).unwrap().contains("\"numTraining\": 3"));
}

#[cfg(unix)]
#[test]
fn the_number_of_cases_stays_where_one_is_a_broken_link() {
    let (root, folder) = dataset();
    let image = folder.join("imagesTr/ball_001_0000.nii.gz");
    let elsewhere = root.path().join("archive.nii.gz");
    fs::rename(&image, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &image).unwrap();
    assert!(check(&folder).faults.is_empty(), "a link to a file is as good as the file");

    fs::rename(&elsewhere, root.path().join("moved.nii.gz")).unwrap();
    let json = folder.join("dataset.json");
    let before = fs::read(&json).unwrap();
    let report = check(&folder);
    let outcomes = repair(&folder, &report, &image_formats());
    let found: Vec<&Problem> = report.faults.iter().map(|fault| &fault.problem).collect();
    assert!(found.iter().any(|p| matches!(p, Problem::NumTraining { stated: 3, found: 2 })), "{found:?}");
    assert!(report.faults.iter().any(|f| f.path == image && matches!(f.problem, Problem::BrokenLink)));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Left), "{outcomes:?}");
    assert_eq!(fs::read(&json).unwrap(), before);
    assert!(!folder.join("dataset.json.before_repair").exists());
}
