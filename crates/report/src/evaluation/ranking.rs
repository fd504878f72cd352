//! Which cases are best and worst.

use std::path::Path;

use nnunet_assess::evaluate::{CaseMetrics, Summary};
use nnunet_dataset::LabelOrRegion;

/// A case with its mean Dice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranked<'a> {
    /// The case.
    pub(crate) case: &'a CaseMetrics,
    /// Its mean Dice over the classes but background; NaN if none is defined.
    pub(crate) dice: f64,
}

/// The name of a case: that of its prediction without the ending.
pub(crate) fn case_name(case: &CaseMetrics) -> String {
    let name =
        Path::new(&case.prediction_file).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    stem.rsplit_once('.').map_or(stem, |(stem, _)| stem).to_owned()
}

/// The mean Dice of a case over the classes but background; NaN if none is defined.
pub(crate) fn mean_dice(case: &CaseMetrics) -> f64 {
    let foreground = case.metrics.iter().filter(|(class, _)| *class != LabelOrRegion::Label(0));
    let defined: Vec<f64> =
        foreground.map(|(_, metrics)| metrics.dice).filter(|dice| !dice.is_nan()).collect();
    defined.iter().sum::<f64>() / defined.len() as f64
}

/// The cases of which a mean Dice is defined, the worst first.
pub(crate) fn rank(summary: &Summary) -> Vec<Ranked<'_>> {
    let all = summary.metric_per_case.iter().map(|case| Ranked { case, dice: mean_dice(case) });
    let mut ranked: Vec<Ranked<'_>> = all.filter(|ranked| !ranked.dice.is_nan()).collect();
    ranked.sort_by(|a, b| a.dice.total_cmp(&b.dice));
    ranked
}

/// The worst, the median and the best of `ranked`, as far as they are different cases.
pub(crate) fn worst_median_best<'a, 'b>(ranked: &'b [Ranked<'a>]) -> Vec<(&'static str, &'b Ranked<'a>)> {
    let last = ranked.len().saturating_sub(1);
    let mut places = vec![("worst", 0), ("median", last / 2), ("best", last)];
    places.dedup_by_key(|(_, place)| *place);
    places.into_iter().filter_map(|(which, place)| Some((which, ranked.get(place)?))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use nnunet_assess::evaluate::{AddedMetrics, Metrics};

    use super::*;

    /// A case with a Dice for background and for each class from 1 on.
    pub(crate) fn case(name: &str, dice: &[f64]) -> CaseMetrics {
        let metrics = |dice: f64| Metrics {
            dice,
            iou: dice / (2.0 - dice),
            fp: 1.0,
            tp: 2.0,
            fn_: 3.0,
            tn: 4.0,
            n_pred: 3.0,
            n_ref: 5.0,
            added: AddedMetrics::from_entries([("HD95", 1.5)]),
        };
        let classes = std::iter::once(0.99).chain(dice.iter().copied()).enumerate();
        CaseMetrics {
            reference_file: format!("/ref/{name}.nii.gz"),
            prediction_file: format!("/pred/{name}.nii.gz"),
            metrics: classes
                .map(|(label, dice)| (LabelOrRegion::Label(label as i32), metrics(dice)))
                .collect(),
        }
    }

    #[test]
    fn cases_are_ranked_by_their_foreground() {
        let cases = vec![
            case("b.1", &[0.9, 0.8]),
            case("a", &[0.2, f64::NAN]),
            case("none", &[f64::NAN, f64::NAN]),
            case("c", &[0.5, 0.6]),
        ];
        let summary = Summary::new(cases);
        let ranked = rank(&summary);
        let names: Vec<String> = ranked.iter().map(|ranked| case_name(ranked.case)).collect();
        assert_eq!(names, ["a", "c", "b.1"]);
        assert_eq!(ranked[0].dice, 0.2);
        let shown: Vec<_> =
            worst_median_best(&ranked).iter().map(|(which, r)| (*which, case_name(r.case))).collect();
        assert_eq!(shown, [("worst", "a".into()), ("median", "c".into()), ("best", "b.1".into())]);
        assert_eq!(worst_median_best(&ranked[..1]).len(), 1);
        assert!(worst_median_best(&[]).is_empty());
    }
}
