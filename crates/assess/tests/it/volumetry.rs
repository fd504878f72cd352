//! Comparison of volumes: three studies whose Dice is fine and whose volumes are not, and one that has no fault.

use nnunet_assess::evaluate::{AddedMetrics, CaseMetrics, Metrics, Overlap, Summary};
use nnunet_assess::statistics::Bootstrap;
use nnunet_assess::volumetry::{ClassReport, Subjects, VolumetryOptions, VolumetryReport, report};
use nnunet_dataset::LabelOrRegion;
use nnunet_pyformats::numpy_random::RandomState;

/// A case: name, subject, time, group, volumes of reference and prediction in voxels of 0.001 ml. Masks are nested, so that
/// Dice follows from the volumes.
struct Case {
    name: String,
    subject: String,
    time: &'static str,
    group: &'static str,
    reference: u64,
    prediction: u64,
}

fn study(cases: &[Case]) -> (Summary, Subjects) {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("subjects.tsv");
    let rows = cases.iter().map(|c| format!("{}\t{}\t{}\t{}\n", c.name, c.subject, c.time, c.group));
    std::fs::write(&table, format!("case\tsubject\ttime\tgroup\n{}", rows.collect::<String>())).unwrap();
    let metrics = cases.iter().map(|case| {
        let tp = case.reference.min(case.prediction);
        let overlap = Overlap { tp, fp: case.prediction - tp, fn_: case.reference - tp, tn: 1_000_000 };
        let ml = |voxels: u64| voxels as f64 / 1000.0;
        let added =
            AddedMetrics::from_entries([("ml_ref", ml(case.reference)), ("ml_pred", ml(case.prediction))]);
        CaseMetrics {
            reference_file: format!("gt/{}.nii.gz", case.name),
            prediction_file: format!("pred/{}.nii.gz", case.name),
            metrics: vec![(LabelOrRegion::Label(1), Metrics { added, ..Metrics::from(overlap) })],
        }
    });
    (Summary::new(metrics.collect()), Subjects::load(&table).unwrap())
}

fn compare(cases: &[Case]) -> (VolumetryReport, ClassReport) {
    let (summary, subjects) = study(cases);
    let bootstrap = Bootstrap { resamples: 500, seed: 1 };
    let options = VolumetryOptions { subjects: Some(subjects), bootstrap, ..VolumetryOptions::default() };
    let report = report(&summary, &options).unwrap();
    let class = report.classes[0].clone();
    (report, class)
}

fn voxels(volume: f64) -> u64 {
    (volume * 1000.0).round() as u64
}

/// Control and treated subjects; treatment makes lesions 20 % smaller. `factor` is what the prediction makes of them.
fn therapy(factor: impl Fn(bool, f64) -> f64) -> Vec<Case> {
    let mut random = RandomState::new(5);
    (0..120)
        .map(|i| {
            let treated = i % 2 == 1;
            let volume = 20.0 * random.normal(0.0, 0.12).exp() * if treated { 0.8 } else { 1.0 };
            Case {
                name: format!("c{i}"),
                subject: format!("s{i}"),
                time: "1",
                group: if treated { "treated" } else { "control" },
                reference: voxels(volume),
                prediction: voxels(factor(treated, volume)),
            }
        })
        .collect()
}

/// Subjects whose lesions change by a factor of exp(-0.15 +- 0.2); predictions have an error of exp(+- `noise`).
fn follow_up(noise: f64) -> Vec<Case> {
    let mut random = RandomState::new(6);
    let mut cases = Vec::new();
    for i in 0..60 {
        let first = 15.0 * random.normal(0.0, 0.5).exp();
        let last = first * random.normal(-0.15, 0.2).exp();
        for (time, volume) in [("1", first), ("2", last)] {
            cases.push(Case {
                name: format!("s{i}_{time}"),
                subject: format!("s{i}"),
                time,
                group: "all",
                reference: voxels(volume),
                prediction: voxels(volume * random.normal(0.0, noise).exp()),
            });
        }
    }
    cases
}

#[test]
fn errors_that_depend_on_the_group_hide_an_effect() {
    let cases = therapy(|treated, volume| volume * if treated { 1.15 } else { 0.95 });
    let (_, class) = compare(&cases);
    assert!(class.dice > 0.94, "Dice is fine: {}", class.dice);
    let effect = &class.groups[0];
    assert_eq!(effect.outcome, "volume at 1");
    assert!((effect.reference.relative + 0.2).abs() < 0.04, "{}", effect.reference.relative);
    assert!((effect.prediction.relative + 0.03).abs() < 0.04, "{}", effect.prediction.relative);
    assert!(effect.error_test.p < 1e-6);
    assert!(effect.prediction.subjects.unwrap() > 10 * effect.reference.subjects.unwrap());
    let text = class.verdict.join("\n");
    assert!(
        text.contains("mean Dice 0.95, but the measured effect (volume at 1, treated against control) is"),
        "{text}"
    );
    assert!(
        text.contains(
            "the volume error depends on the group (volume at 1): -5 % in control, +15 % in treated"
        ),
        "{text}"
    );
}

#[test]
fn random_errors_ask_for_more_patients() {
    for (noise, dice, ratio) in [(0.1, 0.95, 1.22), (0.2, 0.91, 1.73), (0.3, 0.86, 2.35)] {
        let (_, class) = compare(&follow_up(noise));
        assert!(class.dice > dice, "Dice is fine: {}", class.dice);
        let change = class.change.clone().unwrap();
        assert!(change.logarithms);
        // sqrt(0.2² + 2 noise²) / 0.2, within what 60 subjects allow.
        assert!((change.spread_ratio / ratio - 1.0).abs() < 0.2, "{noise}: {}", change.spread_ratio);
        assert!(change.subjects_prediction > change.subjects_reference);
        let text = class.verdict.join("\n");
        assert!(text.contains("but changes over time spread"), "{text}");
        assert!(text.contains("times as many subjects"), "{text}");
    }
}

#[test]
fn shrinkage_to_the_mean_shows_in_the_slope_and_not_in_effect_sizes() {
    let cases = therapy(|_, volume| 18.0 + 0.7 * (volume - 18.0));
    let (_, class) = compare(&cases);
    assert!(class.dice > 0.85, "Dice is fine: {}", class.dice);
    assert!((class.agreement.calibration.slope - 0.7).abs() < 0.01);
    assert!(class.agreement.bland_altman.proportional.slope < -0.3);
    assert!((class.groups[0].g_ratio - 1.0).abs() < 0.01 && (class.groups[0].ratio - 0.7).abs() < 0.01);
    let text = class.verdict.join("\n");
    assert!(text.contains("shrinks differences between volumes: 1 ml more is measured as 0.70 ml"), "{text}");
    assert!(text.contains("the larger a volume, the more it is measured too small"), "{text}");
}

#[test]
fn good_predictions_have_no_fault() {
    let mut random = RandomState::new(8);
    let errors: Vec<f64> = (0..120).map(|_| random.normal(0.0, 0.01).exp()).collect();
    let at = std::cell::Cell::new(0);
    let cases = therapy(|_, volume| {
        at.set(at.get() + 1);
        volume * errors[at.get() - 1]
    });
    let (report, class) = compare(&cases);
    assert_eq!(class.verdict, Vec::<String>::new());
    assert!(
        class.agreement.equivalence_p < 0.001 && class.agreement.ccc > 0.99 && class.agreement.icc > 0.99
    );
    assert!(report.text().iter().any(|line| line.contains("no fault found")), "{:?}", report.text());
    assert_eq!(report.warnings, ["all cases are of one time (1): no changes over time"]);
    let sizes: Vec<_> = class.strata.iter().map(|stratum| (stratum.value.as_str(), stratum.cases)).collect();
    assert_eq!(sizes[..3], [("smallest third", 40), ("middle third", 40), ("largest third", 40)]);
    assert!(sizes.contains(&("treated", 60)));
}

#[test]
fn tables_and_documents_have_every_number() {
    let (report, _) = compare(&follow_up(0.1));
    let table = report.to_tsv();
    for quantity in [
        "agreement.bland_altman_ml.bias_interval.low",
        "agreement.icc_2_1",
        "change.reference.subjects_for_80_percent_power",
        "strata.size largest third.error_ml_interval.high",
        "cases.s0_1.ml_ref",
    ] {
        assert!(table.contains(&format!("\n1\t{quantity}\t")), "{quantity}\n{table}");
    }
    assert!(table.lines().all(|line| line.split('\t').count() == 3));
    let json = report.to_json();
    let class = json.get("classes").unwrap().get("1").unwrap();
    assert!(class.get("change").unwrap().get("prediction").unwrap().get("p").unwrap().as_f64().is_some());
}

#[test]
fn empty_masks_and_few_cases_are_no_panic() {
    let case = |i: usize, reference, prediction| Case {
        name: format!("c{i}"),
        subject: format!("s{i}"),
        time: "1",
        group: if i == 0 { "one" } else { "other" },
        reference,
        prediction,
    };
    for cases in [
        vec![case(0, 0, 0)],
        vec![case(0, 0, 0), case(1, 0, 5)],
        vec![case(0, 7, 0), case(1, 0, 5), case(2, 9, 9)],
    ] {
        let (report, class) = compare(&cases);
        assert!(class.groups.is_empty() && class.change.is_none());
        assert!(
            report.warnings.iter().any(|line| line.starts_with("group one has 1 subject(s)")),
            "{:?}",
            report.warnings
        );
        assert!(report.to_tsv().starts_with("class\tquantity\tvalue\n") && !report.text().is_empty());
    }
}
