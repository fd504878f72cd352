//! Whether predicted probabilities are as frequent as they claim, from the `.npz` files of `--save_probabilities`.
//!
//! A class against the rest, over all voxels but ignored ones. Without the file, or with one that does not fit, NaN and
//! a warning.

use std::sync::Arc;

use nnunet_pyformats::json::Json;

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, key, no_argument, number};
use crate::evaluate::probabilities::ClassProbabilities;

/// `ece@BINS` or `brier`.
#[derive(Debug)]
pub enum Calibration {
    /// Expected calibration error: over bins of equal width of the predicted probability, the difference of its mean and
    /// the observed frequency, weighted by voxels. Adds the reliability diagram of all cases to summary.json.
    Ece {
        /// Key in summary.json.
        key: String,
        /// Number of bins.
        bins: usize,
    },
    /// Mean squared difference of the predicted probability and 0 or 1.
    Brier,
}

impl Calibration {
    pub(in crate::evaluate) fn ece(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        let bins = number(argument, 15.0, "a whole number of bins from 2 to 1000", |bins| {
            bins.fract() == 0.0 && (2.0..=1000.0).contains(&bins)
        })?;
        Ok(Arc::new(Self::Ece { key: key("ece", argument), bins: bins as usize }))
    }

    pub(in crate::evaluate) fn brier(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        no_argument(argument)?;
        Ok(Arc::new(Self::Brier))
    }
}

impl Metric for Calibration {
    fn keys(&self) -> Vec<String> {
        match self {
            Self::Ece { key, .. } => vec![key.clone()],
            Self::Brier => vec!["brier".to_owned()],
        }
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let probabilities = case.probabilities()?;
        Ok(vec![match self {
            Self::Ece { bins, .. } => expected_error(&Bin::all(*bins, probabilities)),
            Self::Brier => brier(probabilities),
        }])
    }

    fn uses_spacing(&self) -> bool {
        false
    }

    fn counts(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let Self::Ece { bins, .. } = self else { return Ok(Vec::new()) };
        let bins = Bin::all(*bins, case.probabilities()?);
        Ok(bins.iter().flat_map(|bin| [bin.voxels, bin.predicted, bin.present]).collect())
    }

    fn pooled(&self, counts: &[f64]) -> Option<(String, Json)> {
        let Self::Ece { key, .. } = self else { return None };
        let (counts, _) = counts.as_chunks::<3>();
        let bins: Vec<Bin> =
            counts.iter().map(|&[voxels, predicted, present]| Bin { voxels, predicted, present }).collect();
        if bins.is_empty() {
            return None;
        }
        let width = 1.0 / bins.len() as f64;
        let rows = bins.iter().enumerate().map(|(i, bin)| {
            Json::object([
                ("from", Json::Float(i as f64 * width)),
                ("to", Json::Float((i + 1) as f64 * width)),
                ("voxels", Json::Int(bin.voxels as i64)),
                ("mean_probability", Json::Float(bin.predicted / bin.voxels)),
                ("observed_frequency", Json::Float(bin.present / bin.voxels)),
            ])
        });
        let section = Json::object([
            ("bins", Json::Array(rows.collect())),
            ("ece", Json::Float(expected_error(&bins))),
        ]);
        // `reliability`, or `reliability@20` for `ece@20`.
        Some((key.replacen("ece", "reliability", 1), section))
    }
}

/// Voxels whose predicted probability lies in one interval.
#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    voxels: f64,
    /// Sum of the predicted probabilities.
    predicted: f64,
    /// Voxels where the reference has the class.
    present: f64,
}

impl Bin {
    fn all(bins: usize, probabilities: &ClassProbabilities) -> Vec<Self> {
        let mut all = vec![Self::default(); bins];
        for (&predicted, &present) in probabilities.predicted.iter().zip(&probabilities.present) {
            let predicted = f64::from(predicted).clamp(0.0, 1.0);
            let bin = &mut all[((predicted * bins as f64) as usize).min(bins - 1)];
            bin.voxels += 1.0;
            bin.predicted += predicted;
            bin.present += f64::from(u8::from(present));
        }
        all
    }
}

fn expected_error(bins: &[Bin]) -> f64 {
    let difference: f64 = bins.iter().map(|bin| (bin.predicted - bin.present).abs()).sum();
    difference / bins.iter().map(|bin| bin.voxels).sum::<f64>()
}

fn brier(probabilities: &ClassProbabilities) -> f64 {
    let pairs = probabilities.predicted.iter().zip(&probabilities.present);
    let squares =
        pairs.map(|(&predicted, &present)| (f64::from(predicted) - f64::from(u8::from(present))).powi(2));
    squares.sum::<f64>() / probabilities.predicted.len() as f64
}
