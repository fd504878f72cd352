//! How well predicted volumes agree with those of the reference.

use nnunet_pyformats::json::Json;

use super::output::{interval, line, numbers};
use super::report::Measured;
use crate::statistics::{
    BlandAltman, Line, Test, concordance, equivalence, intraclass_correlation, one_sample,
};

/// Agreement of the volumes of all cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// In ml.
    pub bland_altman: BlandAltman,
    /// Of natural logarithms, where all volumes are positive: exp(bias) is the ratio of the volumes.
    pub logarithms: Option<BlandAltman>,
    /// Lin's concordance correlation.
    pub ccc: f64,
    /// ICC(2,1).
    pub icc: f64,
    /// Predicted against reference volumes: a slope below 1 attenuates every effect.
    pub calibration: Line,
    /// Mean relative error, (predicted - reference) / reference, over cases with a reference.
    pub relative: Test,
    /// p of TOST that the mean relative error lies within the margin.
    pub equivalence_p: f64,
}

impl Agreement {
    pub(super) fn new(measured: &[Measured], margin: f64) -> Self {
        let (truth, seen) = volumes(measured);
        let logarithms = truth.iter().chain(&seen).all(|&ml| ml > 0.0).then(|| {
            let log = |ml: &[f64]| ml.iter().map(|ml| ml.ln()).collect::<Vec<_>>();
            BlandAltman::new(&log(&truth), &log(&seen))
        });
        let errors: Vec<f64> = measured.iter().filter_map(Measured::relative_error).collect();
        let relative = one_sample(&errors);
        Self {
            bland_altman: BlandAltman::new(&truth, &seen),
            logarithms,
            ccc: concordance(&truth, &seen),
            icc: intraclass_correlation(&truth, &seen),
            calibration: Line::fit(&truth, &seen),
            equivalence_p: equivalence(&relative, margin),
            relative,
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let mut entries = vec![("bland_altman_ml", bland_altman(&self.bland_altman))];
        if let Some(logarithms) = &self.logarithms {
            entries.push(("bland_altman_log", bland_altman(logarithms)));
        }
        entries.extend(numbers([("ccc", self.ccc), ("icc_2_1", self.icc)]));
        entries.push(("calibration", line(&self.calibration)));
        entries.push((
            "relative_error",
            Json::object([
                ("mean", Json::Float(self.relative.difference)),
                ("interval", interval(self.relative.interval)),
                ("p", Json::Float(self.relative.p)),
                ("equivalence_p", Json::Float(self.equivalence_p)),
            ]),
        ));
        Json::object(entries)
    }
}

/// Reference and predicted volumes in ml.
pub(super) fn volumes(measured: &[Measured]) -> (Vec<f64>, Vec<f64>) {
    measured.iter().map(|case| (case.ml_ref, case.ml_pred)).unzip()
}

pub(super) fn bland_altman(found: &BlandAltman) -> Json {
    Json::object([
        ("n", Json::Int(found.n as i64)),
        ("bias", Json::Float(found.bias)),
        ("bias_interval", interval(found.bias_interval)),
        ("sd", Json::Float(found.deviation)),
        ("limits", interval(found.limits)),
        ("lower_limit_interval", interval(found.limit_intervals[0])),
        ("upper_limit_interval", interval(found.limit_intervals[1])),
        ("proportional_bias", line(&found.proportional)),
    ])
}
