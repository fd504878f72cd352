//! The plans file as others use it: inheritance, old formats, additions of the user, bad content,
//! and planning a dataset on disk.
// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nnunet_base::hint::explain;
use nnunet_data::Parts;
use nnunet_data::plan::{
    DatasetFacts, Decided, Decision, Decisions, MoveRequest, PlanError, Planner, PlannerOptions,
    PlannerPreset, Plans, Resampling, explain_plans, move_plans, plan_dataset,
};
use nnunet_data::resampling::resampling_functions;
use nnunet_dataset::DatasetJson;
use nnunet_graph::architectures::{Architecture, PlannedUNet, Surroundings, plain_feature_map_elements};
use nnunet_graph::{Graph, NetworkError};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_volume::SpacingMm;
use nnunet_volume::resample::Interpolation;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const NAME: &str = "Dataset802_oriented";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan").join(NAME)
}

fn plans_text() -> String {
    std::fs::read_to_string(golden().join("nnUNetPlans.json")).unwrap()
}

/// The golden plans with an additional configuration.
fn with_configuration(name: &str, body: &str) -> Plans {
    let text = plans_text().replacen(
        "\"configurations\": {",
        &format!("\"configurations\": {{ \"{name}\": {body},"),
        1,
    );
    Plans::from_json(Json::parse(&text).unwrap(), "plans.json").unwrap()
}

#[test]
fn a_cascade_inherits_and_knows_its_stages() {
    let plans = Plans::read(golden().join("nnUNetPlans.json")).unwrap();
    let cascade = plans.configuration("3d_cascade_fullres").unwrap();
    let fullres = plans.configuration("3d_fullres").unwrap();
    assert_eq!(cascade.patch_size, fullres.patch_size);
    assert_eq!(cascade.data_identifier, "nnUNetPlans_3d_fullres");
    assert_eq!(cascade.previous_stage.as_deref(), Some("3d_lowres"));
    assert_eq!(plans.configuration("3d_lowres").unwrap().next_stage, ["3d_cascade_fullres"]);
    assert_eq!((fullres.batch_dice, fullres.is_2d(), fullres.channels()), (true, false, 2));
    assert_eq!(fullres.normalization_schemes, ["CTNormalization", "NoNormalization"]);
    let method = |resampling: &Resampling| resampling.method(&resampling_functions()).unwrap().unwrap();
    assert_eq!(method(&fullres.resampling_data).together, Interpolation::Cubic);
    assert_eq!(method(&fullres.resampling_seg).together, Interpolation::Linear);
    assert_eq!(method(&fullres.resampling_probabilities).force_separate, None);
    let flat = plans.configuration("2d").unwrap();
    assert_eq!(flat.patch_size_zyx(), [1, 448, 384]);
    assert_eq!(
        flat.target_spacing_zyx(SpacingMm::new([7.0, 1.0, 1.0])),
        SpacingMm::new([7.0, flat.spacing[0], flat.spacing[1]])
    );
    assert!(plans.intensity(1).is_some() && plans.intensity(2).is_none());
}

#[test]
fn configurations_are_resolved_as_by_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resolved_plans");
    let plans = Plans::read(folder.join("plans.json")).unwrap();
    let expected = Json::load(&folder.join("resolved.json")).unwrap();
    assert_eq!(expected.as_object().unwrap().len(), 8);
    for (name, expected) in expected.as_object().unwrap() {
        let configuration = plans.configuration(name).unwrap();
        assert_eq!(&Json::Object(configuration.document), expected, "{name}");
    }
    let cascade = plans.configuration("cascade").unwrap();
    assert_eq!((cascade.previous_stage.as_deref(), cascade.batch_size), (Some("larger"), 5));
    assert!(
        cascade.next_stage.is_empty() && plans.configuration("largest").unwrap().next_stage == ["cascade"]
    );
    let residual = plans.configuration("old_residual").unwrap();
    assert!(residual.is_2d() && residual.architecture.class_name() == "ResidualEncoderUNet");
}

#[test]
fn a_configuration_of_the_user_overrides_what_it_names() {
    let plans = with_configuration("bs4", r#"{"inherits_from": "3d_fullres", "batch_size": 4, "mine": [1]}"#);
    let configuration = plans.configuration("bs4").unwrap();
    assert_eq!(configuration.batch_size, 4);
    assert_eq!(configuration.document["mine"].as_array().unwrap().len(), 1);
    assert_eq!(configuration.with_batch_size(9).document["batch_size"], Json::Int(9));
}

#[test]
fn an_old_configuration_is_converted() {
    let plans = with_configuration(
        "old",
        r#"{"data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
            "patch_size": [8, 16, 16], "median_image_size_in_voxels": [9, 17, 17], "spacing": [1.0, 1, 1],
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [false],
            "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32,
            "n_conv_per_stage_encoder": [2, 2], "n_conv_per_stage_decoder": [2], "num_pool_per_axis": [1, 1, 1],
            "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]], "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "unet_max_num_features": 320, "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape", "batch_dice": true,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape"}"#,
    );
    let old = plans.configuration("old").unwrap();
    assert_eq!(old.architecture.class_name(), "PlainConvUNet");
    assert_eq!(old.strides().unwrap(), [[1, 1, 1], [2, 2, 2]]);
    // Without options the reference's function runs with its own defaults.
    let method = old.resampling_seg.method(&resampling_functions()).unwrap().unwrap();
    assert_eq!((method.together, method.force_separate), (Interpolation::Cubic, Some(false)));
}

#[test]
fn bad_plans_are_refused_with_the_reason() {
    let unknown = Plans::read(golden().join("nnUNetPlans.json")).unwrap().configuration("3d-fullres");
    let text = unknown.unwrap_err().to_string();
    assert!(
        text.contains("2d, 3d_lowres, 3d_fullres") && text.contains("did you mean `3d_fullres`"),
        "{text}"
    );

    let circular = with_configuration("a", r#"{"inherits_from": "b"}, "b": {"inherits_from": "a"}"#);
    let text = circular.configuration("a").unwrap_err().to_string();
    assert!(text.contains("a -> b -> a"), "{text}");

    for (body, expected) in [
        (r#"{"inherits_from": "3d_fullres", "patch_size": [0, 8, 8]}"#, "`patch_size` is [ 0, 8, 8 ]"),
        (r#"{"inherits_from": "3d_fullres", "patch_size": [8, 8]}"#, "`spacing` has 3 entries"),
        (r#"{"inherits_from": "3d_fullres", "batch_size": 1e300}"#, "`batch_size` is not a positive"),
        (r#"{"inherits_from": "3d_fullres", "spacing": [1.0, -1, 1]}"#, "positive numbers in mm"),
        (
            r#"{"inherits_from": "3d_fullres", "data_identifier": "../../etc"}"#,
            "expected the name of a folder",
        ),
        (r#"{"inherits_from": "3d_fullres", "use_mask_for_norm": [true]}"#, "one per channel"),
        (r#"{"inherits_from": "nowhere"}"#, "configuration `nowhere`"),
        (r#"{"inherits_from": 3}"#, "expected a name"),
        (r#"{"patch_size": [8, 8]}"#, "UNet_class_name"),
    ] {
        let text = with_configuration("x", body).configuration("x").unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    for (find, replace, expected) in [
        ("\"configurations\"", "\"other\"", "`configurations` is missing"),
        ("\"transpose_backward\"", "\"other\"", "`transpose_backward` is missing"),
        ("\"foreground_intensity_properties_per_channel\"", "\"other\"", "foreground_intensity"),
        ("\"percentile_99_5\"", "\"other\"", "percentile_99_5"),
        ("\"plans_name\"", "\"other\"", "`plans_name`"),
    ] {
        let text = plans_text().replacen(find, replace, 1);
        let error = Plans::from_json(Json::parse(&text).unwrap(), "here.json").unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("here.json"), "{error}");
    }
}

fn dataset() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (raw, preprocessed) = (folder.path().join("raw"), folder.path().join("preprocessed"));
    std::fs::create_dir_all(&raw).unwrap();
    std::fs::create_dir_all(&preprocessed).unwrap();
    std::fs::copy(golden().join("dataset.json"), raw.join("dataset.json")).unwrap();
    std::fs::copy(golden().join("dataset_fingerprint.json"), preprocessed.join("dataset_fingerprint.json"))
        .unwrap();
    (folder, raw, preprocessed)
}

#[test]
fn planning_again_keeps_configurations_of_the_user() {
    let (_folder, raw, preprocessed) = dataset();
    let options = PlannerOptions::default();
    plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap();
    let path = preprocessed.join("nnUNetPlans.json");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), plans_text(), "as the reference writes them");
    assert!(preprocessed.join("dataset.json").exists());

    let body = r#"{"inherits_from": "3d_fullres", "batch_size": 4}, "2d": {"inherits_from": "mine"}"#;
    with_configuration("mine", body).write(&path).unwrap();
    let plans = plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap();
    assert_eq!(plans.configuration("mine").unwrap().batch_size, 4);
    assert!(plans.configuration("2d").unwrap().is_2d(), "planned configurations are renewed");
    assert_eq!(Plans::read(&path).unwrap().to_json(), plans.to_json());
}

#[test]
fn splits_of_the_raw_folder_are_taken_or_checked() {
    let (_folder, raw, preprocessed) = dataset();
    let options = PlannerOptions { overwrite_plans_name: Some("mine".into()), ..PlannerOptions::default() };
    let splits = |train: &str| format!(r#"[{{"train": ["b", "{train}"], "val": ["c"]}}]"#);
    std::fs::write(raw.join("splits_final.json"), splits("a")).unwrap();
    plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap();
    assert!(preprocessed.join("splits_final.json").exists() && preprocessed.join("mine.json").exists());
    plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap();
    std::fs::write(raw.join("splits_final.json"), splits("x")).unwrap();
    let error = plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap_err();
    assert!(matches!(error, PlanError::SplitsDiffer { fold: 0, .. }), "{error}");
}

#[test]
fn what_is_missing_for_planning_is_named() {
    let (_folder, raw, preprocessed) = dataset();
    let plan = |options: PlannerOptions| {
        plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap_err().to_string()
    };
    let text = plan(PlannerOptions { gpu_memory_target_gb: Some(-1.0), ..PlannerOptions::default() });
    assert!(
        text.contains("gpu_memory_target is -1 GB") || text.contains("gpu_memory_target: is -1"),
        "{text}"
    );
    let text =
        plan(PlannerOptions { overwrite_plans_name: Some("../x".into()), ..PlannerOptions::default() });
    assert!(text.contains("file name"), "{text}");
    let text = plan(PlannerOptions { overwrite_target_spacing: Some([1e9; 3]), ..PlannerOptions::default() });
    assert!(text.contains("finer target spacing"), "{text}");

    let path = preprocessed.join("dataset_fingerprint.json");
    let fingerprint = Json::load(&path).unwrap();
    for (key, value, expected) in [
        ("spacings", Json::Array(Vec::new()), "0 spacings"),
        ("spacings", Json::Int(3), "three numbers for each case"),
        ("median_relative_size_after_cropping", Json::Null, "not a number"),
        ("foreground_intensity_properties_per_channel", Json::object::<String>([]), "0 channels"),
    ] {
        let Json::Object(mut entries) = fingerprint.clone() else { panic!("no object") };
        entries.insert(key.to_owned(), value);
        Json::Object(entries).save(&path, KeyOrder::Kept).unwrap();
        let text = plan(PlannerOptions::default());
        assert!(text.contains(expected), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    let text = plan(PlannerOptions::default());
    assert!(text.contains("dataset_fingerprint.json") && text.contains("extract the fingerprint"), "{text}");
}

#[test]
fn plans_are_moved_as_by_the_reference() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/move_plans");
    let target = tempfile::tempdir().unwrap();
    let source = golden.join("../plan").join(NAME);
    let request = MoveRequest {
        source: &source,
        source_plans: "nnUNetResEncUNetLPlans",
        target_name: "Dataset900_Target",
        target_raw: &golden.join("raw"),
        target: &target.path().join("Dataset900_Target"),
        target_plans: None,
    };
    for (name, file) in [(None, "same_name.json"), (Some("moved"), "other_name.json")] {
        let written = move_plans(&MoveRequest { target_plans: name, ..request }, &Parts::default()).unwrap();
        assert_eq!(written.file_stem().unwrap(), name.unwrap_or("nnUNetResEncUNetLPlans"));
        let expected = std::fs::read_to_string(golden.join(file)).unwrap();
        assert_eq!(std::fs::read_to_string(written).unwrap(), expected, "{file}");
    }
    let error = move_plans(&MoveRequest { source_plans: "nothing", ..request }, &Parts::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing.json: does not exist; plan the dataset"), "{error}");
    let error = move_plans(&MoveRequest { target_plans: Some("../x"), ..request }, &Parts::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("can be a file name"), "{error}");
}

#[test]
fn options_are_read_off_the_plans() {
    let (_folder, raw, preprocessed) = dataset();
    let explained = |options: PlannerOptions, explain: PlannerOptions| {
        // Plans that name a preprocessor of somebody's own are not made here, but explained.
        let default = PlannerOptions::default().preprocessor_name;
        let own = options.preprocessor_name.clone();
        let options = PlannerOptions { preprocessor_name: default.clone(), ..options };
        let plans = plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap();
        let path = preprocessed.join(format!("{}.json", plans.plans_name()));
        let text = std::fs::read_to_string(&path).unwrap().replace(&default, &own);
        std::fs::write(&path, text).unwrap();
        explain_plans(&preprocessed, plans.plans_name(), explain, &Parts::default()).unwrap()
    };
    let options = PlannerOptions {
        overwrite_plans_name: Some("own".into()),
        overwrite_target_spacing: Some([1.5, 1.25, 4.0]),
        preprocessor_name: "Mine".into(),
        gpu_memory_target_gb: Some(16.0),
        suppress_transpose: true,
        ..PlannerOptions::default()
    };
    let told = PlannerOptions { gpu_memory_target_gb: Some(16.0), ..PlannerOptions::default() };
    for explanation in explained(options.clone(), told) {
        assert_eq!(explanation.planned, None, "{explanation:?}");
        let (key, rule) = (explanation.key.as_str(), explanation.rule.as_str());
        match key {
            "transpose_forward" => assert!(rule.contains("as the user asked"), "{rule}"),
            "configurations.3d_fullres.spacing" => assert_eq!(rule, "given by the user"),
            _ => {}
        }
    }
    // The memory is the one thing that the plans do not show.
    let differ = explained(options, PlannerOptions::default());
    let differ = differ.iter().filter(|e| e.planned.is_some()).map(|e| e.key.as_str());
    assert!(differ.clone().any(|key| key == "configurations.3d_fullres.patch_size"));
    assert!(differ.clone().all(|key| key.starts_with("configurations.")), "{:?}", differ.collect::<Vec<_>>());
}

#[test]
fn preprocessors_and_label_managers_that_are_not_there_are_refused() {
    let (_folder, raw, preprocessed) = dataset();
    let options =
        PlannerOptions { preprocessor_name: "DefaultPreprocesor".into(), ..PlannerOptions::default() };
    let error = plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap_err().to_string();
    assert!(error.contains("\"DefaultPreprocesor\"; known: DefaultPreprocessor"), "{error}");
    assert!(!preprocessed.join("nnUNetPlans.json").exists());

    let plans =
        plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default()).unwrap();
    let with = |manager: Json| {
        let mut document = plans.document().clone();
        document.insert("label_manager".to_owned(), manager);
        let plans = Plans::from_json(Json::Object(document), "folder/own.json").unwrap();
        plans.label_manager(&DatasetJson::load(&raw.join("dataset.json")).unwrap(), &Parts::default())
    };
    let error = with("MyLabelManager".into()).unwrap_err().to_string();
    assert!(
        error.contains(
            "own.json: label_manager: found MyLabelManager, expected one that is known: LabelManager"
        ),
        "{error}"
    );
    assert!(with(Json::Null).is_ok() && with("LabelManager".into()).is_ok());
}

#[test]
fn plans_that_are_not_there_say_what_to_run() {
    let (_folder, raw, preprocessed) = dataset();
    let message = |folder: &Path, name: &str| explain(&Plans::of_dataset(folder, name).unwrap_err());
    let error = message(&preprocessed.with_file_name("Dataset999_Nothing"), "nnUNetPlans");
    for words in ["Dataset999_Nothing does not exist", "Plan and preprocess the dataset"] {
        assert!(error.contains(words), "{words:?} in {error}");
    }
    assert!(message(&preprocessed, "nnUNetPlans").contains("has no plans yet"));
    plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default()).unwrap();
    let error = message(&preprocessed, "nnUNetPlan");
    assert!(
        error.contains("has the plans nnUNetPlans (did you mean nnUNetPlans?). Plan and preprocess"),
        "{error}"
    );
    assert!(!error.contains("fingerprint"), "{error}");
}

#[test]
fn plans_of_any_planner_are_explained() {
    let (_folder, raw, preprocessed) = dataset();
    let plans =
        plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default()).unwrap();
    let mut document = plans.document().clone();
    document.insert("experiment_planner_used".to_owned(), "SomebodysPlanner".into());
    Json::Object(document).save(&preprocessed.join("nnUNetPlans.json"), KeyOrder::Kept).unwrap();

    let explained =
        explain_plans(&preprocessed, "nnUNetPlans", PlannerOptions::default(), &Parts::default()).unwrap();
    let of = |key: &str| explained.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("{key}"));
    assert!(explained.iter().all(|e| e.planned.is_none()));
    for key in ["configurations", "configurations.2d.patch_size", "transpose_forward"] {
        assert!(of(key).source.contains("SomebodysPlanner") && of(key).rule.contains("not known"), "{key}");
    }
    assert!(of("original_median_spacing_after_transp").rule.contains("median of each axis"));

    // A preset of the caller's own: its rules are those of the procedure that all presets share.
    const OWN: PlannerPreset = PlannerPreset { name: "SomebodysPlanner", ..nnunet_data::plan::DEFAULT };
    let mut parts = Parts::default();
    parts.planners.register(OWN.name, "my numbers", Arc::new(OWN)).unwrap();
    let explained = explain_plans(&preprocessed, "nnUNetPlans", PlannerOptions::default(), &parts).unwrap();
    let patch = explained.iter().find(|e| e.key == "configurations.2d.patch_size").unwrap();
    assert!(patch.rule.contains("begins at") && patch.planned.is_none(), "{patch:?}");
}

/// The default planner with batches of five.
#[derive(Debug)]
struct BatchesOfFive;

impl Planner for BatchesOfFive {
    fn plans_name(&self) -> &str {
        "FivePlans"
    }

    fn decide(
        &self,
        facts: &DatasetFacts,
        options: &PlannerOptions,
        parts: &Parts,
    ) -> Result<Decisions, PlanError> {
        let name = options.overwrite_plans_name.as_deref().unwrap_or(self.plans_name());
        let options = PlannerOptions { overwrite_plans_name: Some(name.to_owned()), ..options.clone() };
        let mut decisions = nnunet_data::plan::DEFAULT.decide(facts, &options, parts)?;
        let five = Decided::new(5.into(), "my own rule", "batches of five run best here");
        for configuration in ["2d", "3d_fullres"] {
            *decisions.get_mut(&["configurations", configuration, "batch_size"]).unwrap() =
                Decision::Value(five.clone());
        }
        Ok(decisions)
    }
}

#[test]
fn planners_from_outside_plan_and_explain_as_those_built_in() {
    let (_folder, raw, preprocessed) = dataset();
    let mut parts = Parts::default();
    parts.planners.register("BatchesOfFive", "batches of five", Arc::new(BatchesOfFive)).unwrap();
    let options = PlannerOptions { planner: "BatchesOfFive".into(), ..PlannerOptions::default() };
    let error = plan_dataset(NAME, &raw, &preprocessed, &options, &Parts::default()).unwrap_err().to_string();
    assert!(error.contains("planner \"BatchesOfFive\" is not known; known: "), "{error}");

    let plans = plan_dataset(NAME, &raw, &preprocessed, &options, &parts).unwrap();
    assert_eq!(plans.experiment_planner_used(), Some("BatchesOfFive"));
    assert_eq!(plans.configuration("3d_fullres").unwrap().batch_size, 5);
    let explained = explain_plans(&preprocessed, "FivePlans", PlannerOptions::default(), &parts).unwrap();
    assert!(explained.iter().all(|e| e.planned.is_none()), "{explained:#?}");
    let of = |key: &str| explained.iter().find(|e| e.key == key).unwrap();
    let batch = of("configurations.3d_fullres.batch_size");
    assert_eq!(
        (batch.source.as_str(), batch.rule.as_str()),
        ("my own rule", "batches of five run best here")
    );
    assert_eq!(
        of("configurations.2d.architecture.arch_kwargs.conv_op").rule,
        "the operation for as many axes"
    );
}

/// A network that takes its blocks under a name of its own and needs a tenth of a plain U-Net's memory.
#[derive(Debug)]
struct Frugal;

impl Architecture for Frugal {
    fn class_name(&self) -> &str {
        "mine.Frugal"
    }

    fn graph(&self, _: &Value, _: Surroundings) -> Result<Graph, NetworkError> {
        unreachable!("planning builds no network")
    }

    fn blocks_argument(&self) -> &str {
        "depth"
    }

    fn default_arguments(&self, dimensions: usize) -> Map<String, Value> {
        [("nonlin".to_owned(), json!("torch.nn.GELU")), ("axes".to_owned(), json!(dimensions))]
            .into_iter()
            .collect()
    }

    fn feature_map_elements(&self, network: &PlannedUNet<'_>, patch_size: &[usize]) -> u64 {
        plain_feature_map_elements(network, patch_size) / 10
    }
}

#[test]
fn planners_plan_for_architectures_from_outside() {
    const PLANNER: PlannerPreset =
        PlannerPreset { name: "FrugalPlanner", architecture: "Frugal", ..nnunet_data::plan::DEFAULT };
    let (_folder, raw, preprocessed) = dataset();
    let mut parts = Parts::default();
    parts.planners.register(PLANNER.name, "frugal", Arc::new(PLANNER)).unwrap();
    // So little memory that patches are cut.
    let memory = PlannerOptions { gpu_memory_target_gb: Some(0.002), ..PlannerOptions::default() };
    let options = PlannerOptions { planner: PLANNER.name.into(), ..memory.clone() };
    let error = plan_dataset(NAME, &raw, &preprocessed, &options, &parts).unwrap_err().to_string();
    assert!(error.starts_with("network class \"Frugal\" is not known; known: "), "{error}");

    parts.architectures.register("Frugal", "frugal networks", Arc::new(Frugal)).unwrap();
    let plain = plan_dataset(NAME, &raw, &preprocessed, &memory, &parts).unwrap();
    let plans = plan_dataset(NAME, &raw, &preprocessed, &options, &parts).unwrap();
    let [plain, frugal] = [plain, plans].map(|plans| plans.configuration("3d_fullres").unwrap());
    assert!(frugal.patch_size.iter().product::<usize>() > plain.patch_size.iter().product());
    assert_eq!(frugal.architecture.network_class_name, "mine.Frugal");
    assert_eq!(frugal.architecture.requires_import, ["conv_op", "nonlin"]);
    let kwargs = frugal.architecture.kwargs_value();
    let keys: Vec<&str> = kwargs.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[5..], ["depth", "n_conv_per_stage_decoder", "nonlin", "axes"]);
    assert_eq!(kwargs["axes"], 3);
}

#[test]
fn a_table_of_patients_goes_where_folds_are_made() {
    let (_folder, raw, preprocessed) = dataset();
    std::fs::write(raw.join("patients.tsv"), "a\tP1\nb\tP1\n").unwrap();
    plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default()).unwrap();
    assert_eq!(std::fs::read(preprocessed.join("patients.tsv")).unwrap(), b"a\tP1\nb\tP1\n");
    std::fs::write(raw.join("patients.tsv"), "a P1\n").unwrap();
    let error = plan_dataset(NAME, &raw, &preprocessed, &PlannerOptions::default(), &Parts::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("patients.tsv: patients: line 1"), "{error}");
}
