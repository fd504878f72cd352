//! Centreline Dice of tubular structures (S. Shit et al., clDice, 2021).

use std::sync::Arc;

use nnunet_volume::Volume;

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, no_argument};
use crate::evaluate::skeleton::skeleton;

/// `cldice`: the harmonic mean of the share of the prediction's centreline that lies in the reference and the share of
/// the reference's centreline that lies in the prediction.
///
/// 0 where one mask is empty and NaN where both are.
#[derive(Debug)]
pub struct ClDice;

impl ClDice {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        no_argument(argument)?;
        Ok(Arc::new(Self))
    }
}

impl Metric for ClDice {
    fn keys(&self) -> Vec<String> {
        vec!["cldice".to_owned()]
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let masks = case.masks();
        let inside = |line_of: &Volume<bool>, other: &Volume<bool>| {
            let line = skeleton(line_of, case.is_flat());
            let set = line.data().iter().filter(|set| **set).count();
            let hits = line.data().iter().zip(other.data()).filter(|(line, other)| **line && **other).count();
            (set > 0).then(|| hits as f64 / set as f64)
        };
        let of_prediction = inside(&masks.prediction, &masks.reference);
        let of_reference = inside(&masks.reference, &masks.prediction);
        Ok(vec![match (of_prediction, of_reference) {
            (None, None) => f64::NAN,
            (Some(a), Some(b)) if a + b > 0.0 => 2.0 * a * b / (a + b),
            _ => 0.0,
        }])
    }

    fn uses_spacing(&self) -> bool {
        false
    }
}
