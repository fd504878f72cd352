//! Merged fingerprints against a central extraction and against values computed by hand.

use nnunet::fingerprint::{Fingerprint, extract};
use nnunet::plan::Plans;
use nnunet::progress::{Cancel, Silent};
use nnunet::{Ctx, DatasetName, PlanJob};
use nnunet_federated::{Body, SiteFingerprint, merge};
use nnunet_testkit::phantom::{PhantomDataset, PhantomLabels};

use crate::common::{NAME, Place};

const SITES: [&str; 2] = ["a", "b"];

/// Five cases at two sites, and all of them at a third place.
fn place() -> Place {
    let place = Place::new();
    place.write_dataset("a", 0..3);
    place.write_dataset("b", 3..5);
    place.write_dataset("central", 0..5);
    place
}

fn central(place: &Place) -> Fingerprint {
    let (raw, json) = place.project("central").raw_dataset(&DatasetName::new(NAME).unwrap()).unwrap();
    let cases = nnunet::dataset::cases::training_cases(&raw, &json).unwrap();
    extract(&cases, &json, Ctx::new(&Silent, &Cancel::new())).unwrap()
}

fn merged(place: &Place, folder: &std::path::Path) -> Fingerprint {
    match place.message(folder).body {
        Body::MergedFingerprint(merged) => merged.fingerprint(),
        other => panic!("{other:?}"),
    }
}

/// Spacings and shapes, whatever the order of the cases.
fn cases(fingerprint: &Fingerprint) -> Vec<([u64; 3], [usize; 3])> {
    let spacings = fingerprint.spacings.iter().map(|spacing| spacing.map(f64::to_bits));
    let mut cases: Vec<_> = spacings.zip(fingerprint.shapes_after_crop.iter().copied()).collect();
    cases.sort_unstable();
    cases
}

/// The plans of a site without what is its own.
fn planned(place: &Place, site: &str, input: &std::path::Path) -> Plans {
    place.at(site, |site, ctx| site.plan(input, &place.path("plans").join(&site.name), ctx)).unwrap();
    Plans::read(place.path(&format!("{site}/pre")).join(NAME).join("nnUNetPlans.json")).unwrap()
}

#[test]
fn the_exact_merge_equals_a_central_extraction_and_both_sites_plan_as_it_does() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1\nfingerprint = \"exact\"");
    let size = place.exchange_fingerprints(&SITES, "size", &settings);
    assert!(matches!(place.message(&size).body, Body::TotalSize(size) if size.cases == 5));
    let folder = place.exchange_fingerprints(&SITES, "fingerprint", &size);
    let (ours, central) = (merged(&place, &folder), central(&place));
    assert_eq!(cases(&ours), cases(&central));
    assert_eq!(ours.foreground_intensities, central.foreground_intensities);
    assert_eq!(ours.median_relative_size_after_cropping, central.median_relative_size_after_cropping);

    let plans = SITES.map(|site| planned(&place, site, &folder));
    let agreed = place.path("agreed");
    merge(&place.path("plans"), &agreed, None).unwrap();
    let project = place.project("central");
    let dataset = DatasetName::new(NAME).unwrap();
    let pre = place.path("central/pre").join(NAME);
    central.save(&Fingerprint::path(&pre)).unwrap();
    let expected = project.plan(&PlanJob::new(dataset)).unwrap().plans;
    for plans in plans {
        assert_eq!(plans.document(), expected.document());
    }
    let log = std::fs::read_to_string(place.path("a/pre").join(NAME).join("federated_sent.jsonl")).unwrap();
    // Size, fingerprint with its tensors, plans.
    assert_eq!(log.lines().count(), 4, "{log}");
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let sent = std::fs::read(place.path("size/a/message.json")).unwrap();
    assert_eq!(first["bytes"], sent.len());
    assert_eq!(first["what"], "the size of a dataset");
}

#[test]
fn draws_for_another_number_of_cases_are_refused() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1");
    let size = place.exchange_fingerprints(&SITES, "size", &settings);
    for site in SITES {
        place.at(site, |s, ctx| s.fingerprint(&size, &place.path("fingerprint").join(site), ctx)).unwrap();
    }
    // A case came in between.
    place.write_dataset("b", 3..6);
    place.at("b", |site, ctx| site.fingerprint(&size, &place.path("fingerprint/b"), ctx)).unwrap();
    let error = merge(&place.path("fingerprint"), &place.path("merged"), None).unwrap_err().to_string();
    assert!(error.contains("drawn for 5 cases, but the sites have 6"), "{error}");
}

#[test]
fn the_merge_as_published_averages_by_cases() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1\nfingerprint = \"paper\"");
    let folder = place.exchange_fingerprints(&SITES, "fingerprint", &settings);
    let ours = merged(&place, &folder);
    let own = |site: &str| {
        let (raw, json) = place.project(site).raw_dataset(&DatasetName::new(NAME).unwrap()).unwrap();
        let cases = nnunet::dataset::cases::training_cases(&raw, &json).unwrap();
        extract(&cases, &json, Ctx::new(&Silent, &Cancel::new())).unwrap()
    };
    let (a, b) = (own("a"), own("b"));
    assert_eq!(ours.spacings, [a.spacings.clone(), b.spacings.clone()].concat());
    let (x, y, z) =
        (a.foreground_intensities[0], b.foreground_intensities[0], ours.foreground_intensities[0]);
    let near = |found: f64, a: f64, b: f64| {
        let expected = (3.0 * a + 2.0 * b) / 5.0;
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
    };
    near(z.mean, x.mean, y.mean);
    near(z.std, x.std, y.std);
    near(z.median, x.median, y.median);
    near(z.percentile_00_5, x.percentile_00_5, y.percentile_00_5);
    near(z.percentile_99_5, x.percentile_99_5, y.percentile_99_5);
    assert_eq!((z.min, z.max), (x.min.min(y.min), x.max.max(y.max)));
    near(
        ours.median_relative_size_after_cropping,
        a.median_relative_size_after_cropping,
        b.median_relative_size_after_cropping,
    );
}

#[test]
fn the_private_form_has_nothing_of_single_cases_and_gives_one_plan() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1\nfingerprint = \"private\"");
    let folder = place.exchange_fingerprints(&SITES, "fingerprint", &settings);
    let sent = place.message(&place.path("fingerprint/a"));
    let Body::Fingerprint(SiteFingerprint { dataset, content }) = &sent.body else { panic!() };
    assert_eq!(dataset.cases, 3);
    let text = serde_json::to_value(content).unwrap();
    assert!(
        text["of"].get("cases").is_none() && text["of"]["intensities"][0]["extremes"].is_null(),
        "{text}"
    );
    assert!(sent.tensors.is_empty());

    let (ours, central) = (merged(&place, &folder), central(&place));
    let (a, b) = (ours.foreground_intensities[0], central.foreground_intensities[0]);
    // Both are of 10^8 draws, but other ones: the standard error of the mean is 1e-4 of the deviation.
    assert!((a.mean - b.mean).abs() < 1e-3 * b.std, "{} {}", a.mean, b.mean);
    assert!((a.std - b.std).abs() < 1e-3 * b.std, "{} {}", a.std, b.std);
    let plans = SITES.map(|site| planned(&place, site, &folder));
    assert_eq!(plans[0].document(), plans[1].document());
    merge(&place.path("plans"), &place.path("agreed"), None).unwrap();
}

#[test]
fn sites_with_other_labels_or_channels_are_named() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1");
    let json = place.path("b/raw").join(NAME).join("dataset.json");
    for (phantom, what) in [
        (PhantomDataset { labels: PhantomLabels::Regions, ..Default::default() }, "labels is"),
        (PhantomDataset { channels: 2, ..Default::default() }, "channel_names is"),
    ] {
        std::fs::write(&json, phantom.dataset_json()).unwrap();
        for site in SITES {
            place.at(site, |s, ctx| s.fingerprint(&settings, &place.path("size").join(site), ctx)).unwrap();
        }
        let error = merge(&place.path("size"), &place.path("merged"), None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("site b: {what}")), "{error}");
    }
}

#[test]
fn every_site_has_to_answer() {
    let place = place();
    let settings = place.settings(&SITES, "rounds = 1");
    place.at("a", |site, ctx| site.fingerprint(&settings, &place.path("size/a"), ctx)).unwrap();
    let error = merge(&place.path("size"), &place.path("merged"), None).unwrap_err().to_string();
    assert!(error.contains("no answer of b"), "{error}");
}
