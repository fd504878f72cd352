//! The program called as the SlicerNNUNet extension calls nnU-Net: SegmentationLogic.py and Parameter.py of
//! github.com/KitwareMedical/SlicerNNUnet, 43c947a.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nnunet_image_io::nifti;
use serde_json::Value;

use super::common::{DATASET, Place, files_below, text};
use super::{MODEL, place_with_model};

/// The programs `nnUNetv2_predict*` in the folder, sorted.
fn predict_programs(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("nnUNetv2_predict"));
    found.sort();
    found
}

/// Calls `program` with the arguments and variables of the extension.
fn segment(place: &Place, program: &Path) -> Output {
    let models = place.path("res");
    let [trainer, plans, configuration] = MODEL.split("__").collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    Command::new(program)
        .arg("-i")
        .arg(place.path("images"))
        .arg("-o")
        .arg(place.path("output"))
        .args(["-d", DATASET, "-tr", trainer, "-p", plans, "-c", configuration, "-f", "0"])
        .args(["-npp", "1", "-nps", "1", "-step_size", "0.5", "-device", "cpu"])
        .args(["-chk", "checkpoint_final.pth", "--disable_tta"])
        .env("nnUNet_preprocessed", &models)
        .env("nnUNet_raw", &models)
        .env("nnUNet_results", &models)
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn the_extension_finds_the_link_and_loads_the_segmentation() {
    let place = place_with_model();
    let bin = place.path("lib/Python/bin");
    place.succeed(&format!("install-links {}", bin.display()));
    let programs = predict_programs(&bin);
    assert_eq!(programs.len(), 2, "{programs:?}");
    // It makes the folder of the output itself.
    std::fs::create_dir_all(place.path("output")).unwrap();

    // The extension resolves the link, so that the program is not called by the link's name.
    let resolved = programs[0].canonicalize().unwrap();
    assert!(!resolved.file_name().unwrap().to_string_lossy().starts_with("nnUNetv2_"));
    let output = segment(&place, &resolved);
    assert!(output.status.success(), "{}", text(&output.stderr));

    // It loads the first file `*.nii*` of the output.
    let found: Vec<PathBuf> = files_below(&place.path("output"))
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(".nii"))
        .collect();
    assert_eq!(found, [place.path("output/volume.nii.gz")]);
    let labels = nifti::read(&found[0]).unwrap().volume.into_data();
    let truth = nifti::read(place.path("labels/volume.nii.gz")).unwrap().volume.into_data();
    let equal = labels.iter().zip(&truth).filter(|(a, b)| a == b).count();
    assert!(equal as f64 > 0.9 * truth.len() as f64, "{equal} of {}", truth.len());

    // Segments get the names that dataset.json of the model has, whose values are numbers.
    let dataset = std::fs::read(place.path("res").join(DATASET).join(MODEL).join("dataset.json")).unwrap();
    let dataset: Value = serde_json::from_slice(&dataset).unwrap();
    assert!(dataset["labels"].as_object().unwrap().values().all(Value::is_u64));

    // Called by the link's own name it does the same.
    std::fs::remove_dir_all(place.path("output")).unwrap();
    assert!(segment(&place, &programs[0]).status.success());
    assert_eq!(nifti::read(&found[0]).unwrap().volume.into_data(), labels);
}

#[test]
fn progress_for_slicer_goes_to_stdout_and_ends_at_one() {
    let place = place_with_model();
    let output =
        place.run("predict -i images -o out -d 7 -p tiny -c 3d_fullres -f 0 --disable_tta --progress slicer");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(out.lines().all(|line| line.starts_with("<filter-") && line.ends_with('>')), "{out}");
    let shares: Vec<f64> = out
        .lines()
        .filter_map(|line| {
            line.strip_prefix("<filter-progress>")?.strip_suffix("</filter-progress>")?.parse().ok()
        })
        .collect();
    assert!(
        shares.iter().all(|share| (0.0..=1.0).contains(share)) && shares.last() == Some(&1.0),
        "{shares:?}"
    );
    assert!(
        out.starts_with("<filter-start><filter-name>") && out.trim_end().ends_with("</filter-end>"),
        "{out}"
    );
    assert!(err.contains("cases predicted into") && !err.contains("<filter"), "{err}");
}
