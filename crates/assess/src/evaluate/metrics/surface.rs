//! `hd`, `hd95`, `assd`, `masd` (mm) and `nsd@T`: distances between surfaces weighted by area, as DeepMind's
//! `surface-distance` defines them; see [`crate::evaluate::surfels`].
//!
//! | | one mask empty | both empty |
//! |---|---|---|
//! | hd, hd95 | inf | inf |
//! | assd, masd | inf | NaN |
//! | nsd | 0 | NaN |

use std::sync::Arc;

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, key, no_argument, number};
use crate::evaluate::surfels::SurfaceDistances;

/// One of the measures of surfaces.
#[derive(Debug)]
pub struct Surface {
    key: String,
    measure: Measure,
}

#[derive(Debug, Clone, Copy)]
enum Measure {
    Hausdorff { share: f64 },
    Assd,
    Masd,
    Nsd { tolerance: f64 },
}

type Built = Result<Arc<dyn Metric>, String>;

impl Surface {
    /// `hd`: the Hausdorff distance.
    pub(in crate::evaluate) fn hausdorff(argument: Option<&str>) -> Built {
        Self::plain("hd", Measure::Hausdorff { share: 1.0 }, argument)
    }

    /// `hd95`: the larger distance up to which 95 % of a surface's area lies.
    pub(in crate::evaluate) fn hausdorff_95(argument: Option<&str>) -> Built {
        Self::plain("hd95", Measure::Hausdorff { share: 0.95 }, argument)
    }

    /// `assd`: the average over both surfaces together.
    pub(in crate::evaluate) fn assd(argument: Option<&str>) -> Built {
        Self::plain("assd", Measure::Assd, argument)
    }

    /// `masd`: the mean of the averages over either surface.
    pub(in crate::evaluate) fn masd(argument: Option<&str>) -> Built {
        Self::plain("masd", Measure::Masd, argument)
    }

    /// `nsd@T`: the share of both surfaces that is at most T mm from the other.
    pub(in crate::evaluate) fn nsd(argument: Option<&str>) -> Built {
        let tolerance = number(argument, 1.0, "a tolerance in mm, 0 or more", |tolerance| tolerance >= 0.0)?;
        let key = key("nsd", Some(argument.unwrap_or("1")));
        Ok(Arc::new(Self { key, measure: Measure::Nsd { tolerance } }))
    }

    fn plain(name: &str, measure: Measure, argument: Option<&str>) -> Built {
        no_argument(argument)?;
        Ok(Arc::new(Self { key: name.to_owned(), measure }))
    }
}

impl Measure {
    fn of(self, surfaces: &SurfaceDistances) -> f64 {
        match self {
            Self::Hausdorff { share } => surfaces.hausdorff(share),
            Self::Assd => surfaces.assd(),
            Self::Masd => surfaces.masd(),
            Self::Nsd { tolerance } => surfaces.nsd(tolerance),
        }
    }
}

impl Metric for Surface {
    fn keys(&self) -> Vec<String> {
        vec![self.key.clone()]
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        Ok(vec![self.measure.of(case.surfaces())])
    }
}
