//! Rounds of training: alone, together, with networks of other depth, with a site that was away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nnunet::checkpoint::Checkpoint;
use nnunet::dataset::splits::Fold;
use nnunet::progress::{Cancel, Silent};
use nnunet::recipe::Recipe;
use nnunet::train::{Start, TrainRequest};
use nnunet::{Ctx, DatasetName, TrainJob};
use nnunet_federated::{Body, GlobalWeights, aggregate, merge};
use serde_json::json;

use crate::common::{NAME, Place};

/// Sites with five cases each and a tiny network.
fn prepared(sites: &[&str]) -> Place {
    let place = Place::new();
    for (number, site) in sites.iter().enumerate() {
        let first = 5 * number as u32;
        place.write_dataset(site, first..first + 5);
        place.prepare(site, |_| ());
    }
    place
}

fn fold(place: &Place, site: &str, trainer: &str) -> PathBuf {
    let model = format!("{trainer}__nnUNetPlans__3d_fullres/fold_0");
    place.path(&format!("{site}/res")).join(NAME).join(model)
}

/// Copies a message.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in ["message.json", "tensors.safetensors"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn global(place: &Place, folder: &Path) -> GlobalWeights {
    match place.message(folder).body {
        Body::Global(global) => global,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_federation_of_one_site_is_a_local_training_to_the_bit() {
    let place = prepared(&["a", "local"]);
    // The same cases in both places.
    std::fs::remove_dir_all(place.path("local")).unwrap();
    place.write_dataset("local", 0..5);
    place.prepare("local", |_| ());
    let settings = place.settings(&["a"], "rounds = 3\nproximal = 0.0");
    let mut input = settings;
    for round in 0..=3 {
        input = place.round(&["a"], round, &input);
    }
    place.at("a", |site, ctx| site.validate(&input, &place.path("validation/a"), ctx)).unwrap();
    let merged = merge(&place.path("validation"), &place.path("validated"), None).unwrap();

    let project = place.project("local");
    let training = TrainRequest {
        dataset: DatasetName::new(NAME).unwrap(),
        configuration: "3d_fullres".to_owned(),
        fold: Fold::Number(0),
        plans: "nnUNetPlans".to_owned(),
        recipe: Recipe::default_trainer().with_epochs(3).with_iterations(2),
        batch_size: Some(2),
        seed: 0,
        backend: project.backend().clone(),
        start: Start::New,
        checkpointing: true,
    };
    let trained = project.train(TrainJob::new(training), Ctx::new(&Silent, &Cancel::new())).unwrap();
    for name in ["checkpoint_final.pth", "checkpoint_best.pth"] {
        let read =
            |site: &str| Checkpoint::read(&fold(&place, site, "nnUNetTrainer_3epochs").join(name)).unwrap();
        let (ours, local) = (read("a"), read("local"));
        assert_eq!(ours.weights, local.weights, "{name}");
        assert_eq!(ours.optimiser.unwrap().state, local.optimiser.unwrap().state, "{name}");
        assert_eq!((ours.current_epoch, ours.best_ema), (local.current_epoch, local.best_ema), "{name}");
        assert_eq!(ours.logging.get("train_losses"), local.logging.get("train_losses"));
    }
    let Body::MergedValidation(validation) = merged.body else { panic!() };
    assert_eq!(validation.dice, Some(trained.summary.unwrap().foreground_mean.dice));
}

#[test]
fn two_sites_average_what_they_trained_by_their_cases() {
    let place = prepared(&["a", "b"]);
    place.write_dataset("b", 5..13);
    place.prepare("b", |_| ());
    let settings = place.settings(&["a", "b"], "rounds = 2");
    let begin = place.round(&["a", "b"], 0, &settings);
    let first = place.round(&["a", "b"], 1, &begin);
    let (a, b) = (place.message(&place.path("round_1/a")), place.message(&place.path("round_1/b")));
    let (Body::Update(of_a), Body::Update(of_b)) = (&a.body, &b.body) else { panic!() };
    // Four of five and six or seven of eight cases are trained on.
    assert!(of_a.cases == 4 && of_b.cases > 4, "{} {}", of_a.cases, of_b.cases);
    let (n, m) = (of_a.cases as f64, of_b.cases as f64);
    let averaged = place.message(&first).tensors;
    for (key, tensor) in averaged.tensors() {
        let (x, y) = (&a.tensors.get(key).unwrap().data, &b.tensors.get(key).unwrap().data);
        for ((mean, x), y) in tensor.data.iter().zip(x).zip(y) {
            let expected = (n * f64::from(*x) + m * f64::from(*y)) / (n + m);
            assert!((f64::from(*mean) - expected).abs() <= 1e-7 * expected.abs().max(1e-3));
        }
    }
    assert_ne!(a.tensors, b.tensors);
    let second = place.round(&["a", "b"], 2, &first);
    assert_eq!(global(&place, &second).round, 2);
    // Both have the same final weights.
    for site in ["a", "b"] {
        place.at(site, |s, ctx| s.validate(&second, &place.path("validation").join(site), ctx)).unwrap();
    }
    let weights = ["a", "b"].map(|site| {
        Checkpoint::read(&fold(&place, site, "nnUNetTrainer_2epochs").join("checkpoint_final.pth"))
            .unwrap()
            .weights
    });
    assert_eq!(weights[0], weights[1]);
}

/// The keys that two sites share, one with two stages and one with three.
fn shared_by_two_and_three_stages(matching: &str) -> BTreeSet<String> {
    let place = prepared(&["a", "b"]);
    place.prepare("b", |configuration| {
        let arguments = &mut configuration["architecture"]["arch_kwargs"];
        arguments["n_stages"] = json!(3);
        arguments["features_per_stage"] = json!([8, 16, 16]);
        arguments["kernel_sizes"] = json!([[3, 3, 3], [3, 3, 3], [3, 3, 3]]);
        arguments["strides"] = json!([[1, 1, 1], [2, 2, 2], [2, 2, 2]]);
        arguments["n_conv_per_stage"] = json!([1, 1, 1]);
        arguments["n_conv_per_stage_decoder"] = json!([1, 1]);
    });
    let more = format!("rounds = 1\nfingerprint = \"local\"\nmatch = \"{matching}\"");
    let settings = place.settings(&["a", "b"], &more);
    let begin = place.round(&["a", "b"], 0, &settings);
    let first = place.round(&["a", "b"], 1, &begin);
    let keys = place.message(&first).tensors.tensors().map(|(key, _)| key.to_owned()).collect();
    for site in ["a", "b"] {
        place.at(site, |s, ctx| s.validate(&first, &place.path("validation").join(site), ctx)).unwrap();
    }
    keys
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn networks_of_other_depth_share_the_levels_that_both_have() {
    let block = |prefix: &str| {
        ["conv.weight", "conv.bias", "norm.weight", "norm.bias"].map(|end| format!("{prefix}.{end}"))
    };
    let mut expected =
        set(&["level_0/up/weight", "level_0/up/bias", "level_0/head/weight", "level_0/head/bias"]);
    expected.extend(block("level_0/encoder/0.convs.0"));
    expected.extend(block("level_1/encoder/0.convs.0"));
    expected.extend(block("level_0/decoder/convs.0"));
    assert_eq!(shared_by_two_and_three_stages("level"), expected);
}

#[test]
fn by_names_decoders_of_other_depth_meet_at_other_levels() {
    // decoder.stages.0 is level 0 of one network and level 1 of the other: its shapes differ, except those of its output.
    let shared = shared_by_two_and_three_stages("names");
    assert!(shared.contains("encoder.stages.1.0.convs.0.conv.weight"));
    assert!(!shared.iter().any(|key| key.starts_with("decoder.stages.0.convs.0.conv.weight")));
    assert!(!shared.contains("decoder.transpconvs.0.weight"));
    assert!(
        shared.iter().all(|key| key.starts_with("encoder.") || key == "decoder.seg_layers.0.bias"),
        "{shared:?}"
    );
}

#[test]
fn a_site_that_was_away_is_left_out_and_comes_back_at_the_learning_rate_of_the_others() {
    let place = prepared(&["a", "b"]);
    let settings = place.settings(&["a", "b"], "rounds = 4\nmin_sites = 1");
    let begin = place.round(&["a", "b"], 0, &settings);
    let first = place.round(&["a", "b"], 1, &begin);
    let second = place.round(&["a"], 2, &first);
    let left_out = &global(&place, &second).left_out[0];
    assert_eq!((left_out.site.as_str(), left_out.why.as_str()), ("b", "no answer"));
    // An answer of an earlier round is late.
    place.at("a", |site, ctx| site.round(&second, &place.path("round_3/a"), ctx)).unwrap();
    copy(&place.path("round_1/b"), &place.path("round_3/b"));
    let third = place.path("global_3");
    let aggregated = aggregate(&place.path("round_3"), &third, None).unwrap();
    assert_eq!(aggregated.global.left_out[0].why, "its weights are of round 1");

    let fourth = place.round(&["a", "b"], 4, &third);
    assert_eq!(global(&place, &fourth).sites, ["a", "b"]);
    for site in ["a", "b"] {
        place.at(site, |s, ctx| s.validate(&fourth, &place.path("validation").join(site), ctx)).unwrap();
    }
    let read = |site: &str| {
        Checkpoint::read(&fold(&place, site, "nnUNetTrainer_4epochs").join("checkpoint_final.pth")).unwrap()
    };
    let (a, b) = (read("a"), read("b"));
    assert_eq!(a.weights, b.weights);
    let rates = |checkpoint: &Checkpoint| checkpoint.logging.get("lrs").unwrap().as_f64s().unwrap();
    assert_eq!(rates(&a), rates(&b));
    let losses = b.logging.get("train_losses").unwrap().as_f64s().unwrap();
    assert_eq!(losses.iter().map(|loss| loss.is_nan()).collect::<Vec<_>>(), [false, true, true, false]);
}

#[test]
fn too_few_sites_make_no_round() {
    let place = prepared(&["a", "b"]);
    let settings = place.settings(&["a", "b"], "rounds = 1");
    place.at("a", |site, ctx| site.round(&settings, &place.path("round_0/a"), ctx)).unwrap();
    let error = aggregate(&place.path("round_0"), &place.path("global_0"), None).unwrap_err().to_string();
    assert!(error.contains("no answer of b; expected those of 2 sites"), "{error}");
    assert!(!place.path("global_0").exists());
}

#[test]
fn a_round_that_was_trained_is_sent_again_and_one_that_began_with_other_weights_is_refused() {
    let place = prepared(&["a", "b"]);
    let settings = place.settings(&["a", "b"], "rounds = 2\nmin_sites = 1");
    let begin = place.round(&["a", "b"], 0, &settings);
    let first = place.round(&["a", "b"], 1, &begin);
    let sent = place.message(&place.path("round_1/a"));
    place.at("a", |site, ctx| site.round(&begin, &place.path("again"), ctx)).unwrap();
    assert_eq!(place.message(&place.path("again")).tensors, sent.tensors);

    // Weights of the same round from elsewhere: those of site a alone.
    copy(&place.path("round_1/a"), &place.path("alone/a"));
    let alone = place.path("other_global_1");
    aggregate(&place.path("alone"), &alone, None).unwrap();
    place.at("a", |site, ctx| site.round(&first, &place.path("round_2/a"), ctx)).unwrap();
    place.at("b", |site, ctx| site.round(&alone, &place.path("round_2/b"), ctx)).unwrap();
    let error = aggregate(&place.path("round_2"), &place.path("other"), None).unwrap_err().to_string();
    assert!(error.contains("its round began with other weights than that of site a"), "{error}");
    // A trained site does not go back.
    let error =
        place.at("a", |site, ctx| site.round(&begin, &place.path("back"), ctx)).unwrap_err().to_string();
    assert!(error.contains("2 epochs are trained already, but round 1 ends after 1"), "{error}");
}

#[test]
fn the_proximal_term_keeps_a_site_near_and_local_norms_stay() {
    let distance = |more: &str| {
        let place = prepared(&["a"]);
        let settings = place.settings(&["a"], &format!("rounds = 1\n{more}"));
        let begin = place.round(&["a"], 0, &settings);
        place.round(&["a"], 1, &begin);
        let (from, to) = (place.message(&begin).tensors, place.message(&place.path("round_1/a")).tensors);
        let keys: Vec<String> = from.tensors().map(|(key, _)| key.to_owned()).collect();
        let mut sum = 0.0;
        for (key, tensor) in from.tensors() {
            let moved = tensor.data.iter().zip(&to.get(key).unwrap().data);
            sum += moved.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
        (sum.sqrt(), keys)
    };
    let (free, keys) = distance("proximal = 0.0\nepochs_per_round = 3");
    let (held, _) = distance("proximal = 5.0\nepochs_per_round = 3");
    assert!(held < 0.9 * free, "{held} {free}");
    assert!(keys.iter().any(|key| key.contains("norm")));
    let (_, keys) = distance("local_norms = true");
    assert!(!keys.is_empty() && !keys.iter().any(|key| key.contains("norm")), "{keys:?}");
}
