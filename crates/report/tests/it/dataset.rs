use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::plan::Explanation;
use nnunet_dataset::cases::training_cases;
use nnunet_dataset::verify::verify;
use nnunet_dataset::{DatasetJson, image_formats};
use nnunet_pyformats::json::Json;
use nnunet_report::dataset::{DatasetContents, dataset_report, survey};
use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};

use super::{HOSTILE, assert_self_contained};

#[test]
fn an_odd_case_comes_first_and_names_are_escaped() {
    let root = tempfile::tempdir().unwrap();
    let folder = PhantomDataset { cases: 8, ..Default::default() }.write(root.path(), "Dataset001_Balls");
    let odd = "<script>odd";
    let mut labels = vec![0u8; 27];
    labels[13] = 1;
    let path = |part: &str| folder.join(part);
    NiftiFile::new([3; 3], [9.0; 3], Voxels::U8(labels)).write(path(&format!("labelsTr/{odd}.nii.gz")));
    NiftiFile::new([3; 3], [9.0; 3], Voxels::I16(vec![5000; 27]))
        .write(path(&format!("imagesTr/{odd}_0000.nii.gz")));
    std::fs::write(path("labelsTr/ball_003.nii.gz"), b"no image").unwrap();
    let json_path = path("dataset.json");
    let text = std::fs::read_to_string(&json_path).unwrap();
    let label = serde_json::to_string(HOSTILE).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let old =
        document["labels"].as_object().unwrap().keys().find(|name| *name != "background").unwrap().clone();
    std::fs::write(&json_path, text.replace(&format!("\"{old}\""), &label)).unwrap();

    let (cancel, formats) = (Cancel::new(), image_formats());
    let ctx = Ctx::new(&Silent, &cancel);
    let json = DatasetJson::load(&json_path).unwrap();
    let cases = training_cases(&folder, &json).unwrap();
    let survey = survey(&cases, &json, &formats, ctx).unwrap();
    assert_eq!((survey.cases.len(), survey.unreadable.len()), (8, 1));
    let faults = verify(&folder, |_| None, &formats, ctx).faults;
    let explanation = Explanation {
        key: format!("configurations.2d.{HOSTILE}"),
        value: Json::String(HOSTILE.to_owned()),
        source: HOSTILE.to_owned(),
        rule: HOSTILE.to_owned(),
        planned: Some(Json::Int(3)),
    };
    let explanations = [explanation];
    let contents = DatasetContents {
        name: HOSTILE,
        json: &json,
        survey: &survey,
        faults: &faults,
        fingerprint: None,
        plans: Ok(&explanations),
    };
    let report = dataset_report(&contents, &formats, ctx);
    assert_self_contained(&report.html);
    let first = report.html.split("id=\"s0\"").nth(1).unwrap();
    let row = first.split("<tbody><tr>").nth(1).unwrap();
    assert!(row.starts_with("<th scope=\"row\">&lt;script&gt;odd</th>"), "{}", &row[..200]);
    assert!(row.contains("mean foreground intensity of channel 0 5000"), "{}", &row[..600]);
    assert!(report.html.contains("ball_003.nii.gz"), "the fault is listed");
    assert!(report.html.contains("the planner makes 3"));
    assert!(report.html.contains("The fingerprint was not taken yet"));
    assert!(
        report.figures.iter().any(|(name, _)| name == "01_case_to_look_at_1"),
        "{:?}",
        names(&report.figures)
    );

    let without = dataset_report(&DatasetContents { plans: Err("no <plans>"), ..contents }, &formats, ctx);
    assert!(without.html.contains("No plans: no &lt;plans&gt;"));
}

fn names(figures: &[(String, String)]) -> Vec<&str> {
    figures.iter().map(|(name, _)| name.as_str()).collect()
}
