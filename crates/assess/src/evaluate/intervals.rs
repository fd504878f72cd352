//! Confidence intervals of the means of a summary, from drawing cases anew.

use nnunet_dataset::LabelOrRegion;
use nnunet_pyformats::json::Json;

use super::Summary;
use crate::statistics::Bootstrap;

/// The section `confidence` of summary.json: 95 % intervals of every mean over cases, per class and over the foreground
/// classes, with the draws of `bootstrap`. Cases are drawn with all their classes; NaN is left out as in the means.
pub fn confidence(summary: &Summary, bootstrap: &Bootstrap) -> Json {
    let cases = &summary.metric_per_case;
    let keys: Vec<String> = summary.foreground_mean.ratios().map(|(key, _)| key.to_owned()).collect();
    let classes = summary.mean.len();
    // By class, metric and case.
    let values: Vec<Vec<Vec<f64>>> = (0..classes)
        .map(|class| {
            let of_case: Vec<Vec<(&str, f64)>> =
                cases.iter().map(|case| case.metrics[class].1.ratios().collect()).collect();
            let value = |case: &Vec<(&str, f64)>, key: &str| {
                case.iter().find(|(known, _)| *known == key).map_or(f64::NAN, |(_, value)| *value)
            };
            keys.iter().map(|key| of_case.iter().map(|case| value(case, key)).collect()).collect()
        })
        .collect();
    let foreground: Vec<bool> =
        summary.mean.iter().map(|(class, _)| *class != LabelOrRegion::Label(0)).collect();
    let statistics = |drawn: &[u32]| {
        let means: Vec<Vec<f64>> = values
            .iter()
            .map(|of_class| of_class.iter().map(|of_metric| mean_of_drawn(of_metric, drawn)).collect())
            .collect();
        let overall = (0..keys.len()).map(|metric| {
            let those: Vec<f64> = means
                .iter()
                .zip(&foreground)
                .filter(|(_, is)| **is)
                .map(|(of_class, _)| of_class[metric])
                .collect();
            those.iter().sum::<f64>() / those.len() as f64
        });
        let overall: Vec<f64> = overall.collect();
        means.into_iter().flatten().chain(overall).collect()
    };
    let intervals = bootstrap.all_intervals(cases.len(), statistics);
    let mut rows = intervals.chunks(keys.len().max(1)).map(|row| {
        let entries = keys.iter().zip(row);
        Json::object(entries.map(|(key, [low, high])| {
            (key.clone(), Json::Array(vec![Json::Float(*low), Json::Float(*high)]))
        }))
    });
    let of_classes: Vec<(String, Json)> =
        summary.mean.iter().map(|(class, _)| class.key()).zip(rows.by_ref()).collect();
    let overall = rows.next().unwrap_or(Json::Null);
    Json::object([
        ("method", Json::from("percentile bootstrap over cases, 95 %")),
        ("resamples", Json::Int(bootstrap.resamples as i64)),
        ("seed", Json::Int(i64::from(bootstrap.seed))),
        ("mean", Json::object(of_classes)),
        ("foreground_mean", overall),
    ])
}

/// The mean of the drawn values but NaN.
fn mean_of_drawn(values: &[f64], drawn: &[u32]) -> f64 {
    let defined = drawn.iter().map(|&case| values[case as usize]).filter(|value| !value.is_nan());
    let (sum, count) = defined.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}
