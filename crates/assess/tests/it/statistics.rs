//! Statistics, held to SciPy, statsmodels and pingouin.

use nnunet_assess::statistics::{
    BlandAltman, Bootstrap, Line, SignedRank, concordance, equivalence, hedges_g, holm,
    intraclass_correlation, mann_whitney, mean, one_sample, rank_biserial, subjects_for_groups,
    subjects_for_pairs, welch,
};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/statistics/statistics.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn values(json: &Value) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn compare(expected: &Value, found: &[(&str, f64)]) {
    for (key, found) in found {
        let expected = expected[*key].as_f64().unwrap_or_else(|| panic!("no {key}"));
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
            "{key}: {found}, expected {expected}"
        );
    }
}

#[test]
fn agreement_of_paired_measurements() {
    for case in golden()["agreement"].as_array().unwrap() {
        let (a, b) = (values(&case["a"]), values(&case["b"]));
        let found = BlandAltman::new(&a, &b);
        let line = Line::fit(&a, &b);
        compare(
            &case["expected"],
            &[
                ("bias", found.bias),
                ("bias_low", found.bias_interval[0]),
                ("sd", found.deviation),
                ("lower", found.limits[0]),
                ("lower_low", found.limit_intervals[0][0]),
                ("upper_high", found.limit_intervals[1][1]),
                ("slope", found.proportional.slope),
                ("slope_p", found.proportional.slope_p),
                ("calibration", line.slope),
                ("calibration_low", line.slope_interval[0]),
                ("intercept", line.intercept),
                ("correlation", line.correlation),
                ("ccc", concordance(&a, &b)),
                ("icc", intraclass_correlation(&a, &b)),
            ],
        );
    }
}

#[test]
fn differences_of_groups() {
    for case in golden()["effects"].as_array().unwrap() {
        let (a, b) = (values(&case["a"]), values(&case["b"]));
        let (found, single) = (welch(&a, &b), one_sample(&a));
        compare(
            &case["expected"],
            &[
                ("difference", found.difference),
                ("low", found.interval[0]),
                ("t", found.t),
                ("degrees", found.degrees),
                ("p", found.p),
                ("rank_p", mann_whitney(&a, &b)),
                ("g", hedges_g(&a, &b)),
                ("tost", equivalence(&found, 0.5)),
                ("one_t", single.t),
                ("one_p", single.p),
            ],
        );
    }
}

#[test]
fn sample_sizes() {
    for case in golden()["power"].as_array().unwrap() {
        let effect = case["effect"].as_f64().unwrap();
        assert_eq!(subjects_for_groups(effect), case["groups"].as_u64(), "{effect}");
        assert_eq!(subjects_for_pairs(effect), case["pairs"].as_u64(), "{effect}");
    }
    assert_eq!(subjects_for_groups(0.0), None);
    assert_eq!(subjects_for_pairs(f64::NAN), None);
}

#[test]
fn bootstrap_draws_as_scipy_does() {
    let case = &golden()["bootstrap"];
    let all = values(&case["values"]);
    let of = |drawn: &[u32]| mean(&drawn.iter().map(|&i| all[i as usize]).collect::<Vec<_>>());
    let [low, high] = Bootstrap { resamples: 500, seed: 11 }.interval(all.len(), of);
    compare(case, &[("low", low), ("high", high)]);
}

#[test]
fn signed_ranks_are_tested_as_by_scipy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/statistics/signed_rank.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let differences = values(&case["differences"]);
        let found = SignedRank::new(&differences);
        compare(
            case,
            &[
                ("p", found.p),
                ("statistic", found.positive.min(found.negative)),
                ("rank_biserial", rank_biserial(&differences)),
            ],
        );
    }
    let corrected = holm(&values(&golden["holm"]["p"]));
    for (found, expected) in corrected.iter().zip(values(&golden["holm"]["corrected"])) {
        assert!((found - expected).abs() < 1e-12, "{corrected:?}");
    }
    assert_eq!(holm(&[0.04, f64::NAN, 0.01])[2], 0.02, "what is no test does not count");
    assert_eq!(SignedRank::new(&[0.0; 20]).p, 1.0, "nothing differs");
    assert_eq!(rank_biserial(&[0.0; 20]), 0.0);
    assert!(SignedRank::new(&[]).p.is_nan() && rank_biserial(&[]).is_nan());
}

#[test]
fn too_few_values_are_nan_and_no_panic() {
    for values in [&[][..], &[1.0][..]] {
        assert!(welch(values, &[1.0, 2.0]).p.is_nan() && one_sample(values).p.is_nan());
        let found = BlandAltman::new(values, values);
        assert!(found.bias_interval[0].is_nan() && found.proportional.slope.is_nan());
        assert!(intraclass_correlation(values, values).is_nan());
    }
    assert!(mann_whitney(&[], &[1.0]).is_nan() && mann_whitney(&[1.0], &[1.0]).is_nan());
}
