//! Volumes in ml and their errors.

use std::sync::Arc;

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, no_argument};

/// `ml_pred` and `ml_ref`, the volumes in ml; `AVE`, the absolute error in ml; `RVE`, the relative one,
/// (predicted - reference) / reference, NaN without reference.
#[derive(Debug)]
pub struct Volumes;

impl Volumes {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        no_argument(argument)?;
        Ok(Arc::new(Self))
    }
}

impl Metric for Volumes {
    fn keys(&self) -> Vec<String> {
        ["ml_pred", "ml_ref", "AVE", "RVE"].map(str::to_owned).into()
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let voxel = case.voxel_ml();
        let (seen, truth) = (case.overlap().n_pred() as f64 * voxel, case.overlap().n_ref() as f64 * voxel);
        let relative = if truth > 0.0 { (seen - truth) / truth } else { f64::NAN };
        Ok(vec![seen, truth, (seen - truth).abs(), relative])
    }

    fn bytes_per_voxel(&self) -> u64 {
        0
    }
}
