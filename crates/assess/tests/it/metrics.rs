//! Metrics beyond the reference's, held to the packages that define them.

use std::path::Path;

use nnunet_assess::evaluate::{Evaluator, Summary, choose, confidence, metrics};
use nnunet_assess::statistics::Bootstrap;
use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Progress, Silent};
use nnunet_dataset::{ImageReader, LabelOrRegion, image_formats};
use nnunet_pyformats::npy::{Element, write_npz};
use nnunet_testkit::phantom::{NiftiFile, Voxels};
use nnunet_testkit::warnings::Warnings;
use serde_json::Value;

fn numbers<const N: usize>(value: &Value) -> [f64; N] {
    std::array::from_fn(|i| value[i].as_f64().unwrap())
}

/// Voxels of a mask that was packed to bits and written in hexadecimal digits.
fn unpacked(text: &str, voxels: usize) -> Vec<u8> {
    let bit = |i: usize| {
        let byte = u8::from_str_radix(&text[i / 8 * 2..i / 8 * 2 + 2], 16).unwrap();
        byte >> (7 - i % 8) & 1
    };
    (0..voxels).map(bit).collect()
}

/// Probabilities of background and class 1, of which the golden script knows the formula.
fn write_probabilities(path: &Path, shape: [usize; 3]) {
    let voxels: usize = shape.iter().product();
    let [z, y, x] = shape;
    write_npz(path, "probabilities", Element::F32, &[2, z, y, x], |archive| {
        let p = |i: usize| (i * 7919 % 1009) as f64 / 1008.0;
        (0..voxels).try_for_each(|i| archive.write_all(&((1.0 - p(i)) as f32).to_le_bytes()))?;
        (0..voxels).try_for_each(|i| archive.write_all(&(p(i) as f32).to_le_bytes()))
    })
    .unwrap();
}

const ALL: &str =
    "hd,hd95,assd,masd,nsd@1,nsd@2.5,lesions,lesions@met,pq,pq@0.1,cldice,betti,ece,ece@4,brier";

fn evaluate(pairs: &[(std::path::PathBuf, std::path::PathBuf)], progress: &dyn Progress) -> Summary {
    let reader = ImageReader::new(&image_formats(), Some("SimpleITKIO"), ".nii.gz", Path::new("")).unwrap();
    let evaluator = Evaluator::new(reader, vec![LabelOrRegion::Label(1)])
        .with_metrics(choose([ALL], &metrics()).unwrap());
    evaluator.evaluate(pairs, Ctx::new(progress, &Cancel::new())).unwrap()
}

#[test]
fn metrics_equal_the_packages_that_define_them() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics/metrics.json"));
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let shape = numbers(&case["shape"]).map(|length| length as usize);
        let spacing = numbers(&case["spacing"]).map(|mm| mm as f32);
        let path = |side: &str| folder.path().join(side).join(format!("{i:02}.nii.gz"));
        for side in ["reference", "prediction"] {
            let voxels = unpacked(case[side].as_str().unwrap(), shape.iter().product());
            NiftiFile::new(shape, spacing, Voxels::U8(voxels)).write(path(side));
        }
        write_probabilities(&folder.path().join(format!("prediction/{i:02}.npz")), shape);
        pairs.push((path("reference"), path("prediction")));
    }
    let summary = evaluate(&pairs, &Silent);
    let mut faults = Vec::new();
    for (case, found) in cases.iter().zip(&summary.metric_per_case) {
        for (key, expected) in case["expected"].as_object().unwrap() {
            let expected: f64 = expected.as_str().unwrap().parse().unwrap();
            let found = found.metrics[0].1.added.get(key).unwrap_or_else(|| panic!("no {key}"));
            let same = found == expected
                || (found.is_nan() && expected.is_nan())
                || (found - expected).abs() <= 1e-6 * expected.abs().max(1e-3);
            if !same {
                faults.push(format!("{} {key}: {found}, expected {expected}", case["name"]));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Two cases of 8 voxels; in the second the class is in the prediction only, and its probabilities are missing.
fn small(root: &Path) -> Vec<(std::path::PathBuf, std::path::PathBuf)> {
    let cases =
        [("a", [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 0]), ("b", [0; 8], [0, 1, 0, 0, 0, 1, 0, 0])];
    let mut pairs = Vec::new();
    for (name, reference, prediction) in cases {
        let write = |side: &str, voxels: [u8; 8]| {
            let path = root.join(side).join(format!("{name}.nii.gz"));
            NiftiFile::new([2, 2, 2], [1.0; 3], Voxels::U8(voxels.to_vec())).write(&path);
            path
        };
        pairs.push((write("gt", reference), write("pred", prediction)));
    }
    write_probabilities(&root.join("pred/a.npz"), [2, 2, 2]);
    pairs
}

#[test]
fn what_is_missing_or_empty_is_a_warning_and_the_other_metrics_stay() {
    let root = tempfile::tempdir().unwrap();
    let pairs = small(root.path());
    let warnings = Warnings::default();
    let summary = evaluate(&pairs, &warnings);
    let warnings = warnings.said();
    let lost =
        format!("{}: not all metrics: {}", pairs[1].1.display(), root.path().join("pred/b.npz").display());
    assert!(warnings.len() == 2 && warnings[0].starts_with(&lost), "{warnings:?}");
    assert_eq!(warnings[1], "class 1 of b.nii.gz: in the prediction only, where distances are inf, ratios 0");
    let added = &summary.metric_per_case[1].metrics[0].1.added;
    assert!(added.get("brier").unwrap().is_nan() && added.get("ece").unwrap().is_nan());
    assert_eq!((added.get("hd"), added.get("nsd@1")), (Some(f64::INFINITY), Some(0.0)));
}

#[test]
fn reliability_diagrams_pool_all_cases_and_come_back_from_the_file() {
    let root = tempfile::tempdir().unwrap();
    let summary = evaluate(&small(root.path()), &Silent);
    let (name, section) = &summary.sections[0];
    assert_eq!(name, "reliability");
    let bins = section.get("1").unwrap().get("bins").unwrap().as_array().unwrap();
    let voxels: f64 = bins.iter().map(|bin| bin.get("voxels").unwrap().as_f64().unwrap()).sum();
    assert_eq!((bins.len(), voxels), (15, 8.0), "the case with probabilities");
    let file = root.path().join("summary.json");
    summary.save(&file).unwrap();
    let read = Summary::load(&file).unwrap();
    assert_eq!(read.sections.len(), summary.sections.len());
    read.save(&root.path().join("again.json")).unwrap();
    assert_eq!(std::fs::read(file).unwrap(), std::fs::read(root.path().join("again.json")).unwrap());
}

#[test]
fn tables_and_intervals_of_the_means() {
    let root = tempfile::tempdir().unwrap();
    let summary = evaluate(&small(root.path()), &Silent);
    let table = summary.to_tsv();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("case\tclass\tDice\tFN\tFP\tIoU\tTN\tTP\tn_pred\tn_ref\thd\thd95\t"),
        "{table}"
    );
    assert!(lines[1].starts_with("a.nii.gz\t1\t0.75\t1\t1\t0.6\t3\t3\t4\t4\t"), "{table}");
    assert!(
        lines[2].starts_with("b.nii.gz\t1\t0\t")
            && lines[2].contains("\tinf\t")
            && lines[2].ends_with("\tnan")
    );
    assert!(lines.iter().all(|line| line.split('\t').count() == lines[0].split('\t').count()));

    let section = confidence(&summary, &Bootstrap { resamples: 1000, seed: 4 });
    let dice = section.get("mean").unwrap().get("1").unwrap().get("Dice").unwrap().as_array().unwrap();
    // Two cases of 0 and 0.75: a quarter of the draws has the one twice, a quarter the other.
    assert_eq!((dice[0].as_f64(), dice[1].as_f64()), (Some(0.0), Some(0.75)));
    assert_eq!(section, confidence(&summary, &Bootstrap { resamples: 1000, seed: 4 }));
    let foreground = section.get("foreground_mean").unwrap().get("Dice").unwrap();
    assert_eq!(foreground, section.get("mean").unwrap().get("1").unwrap().get("Dice").unwrap());
}
