//! Which resampling functions a planner writes into its plans.

use indexmap::IndexMap;

use super::target_spacing::ANISOTROPY_THRESHOLD;
use nnunet_pyformats::json::Json;

/// Which resampling functions a planner writes into its plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResamplingFamily {
    /// Cubic splines for images, linear for labels and probabilities; a coarse axis is treated on its own.
    Spline,
    /// PyTorch's linear interpolation in all three axes at once.
    Torch,
    /// PyTorch's linear interpolation, a coarse axis treated on its own.
    TorchSeparateAxis,
    /// Everything keeps its grid.
    Unchanged,
}

impl ResamplingFamily {
    /// In words.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Spline => {
                "cubic splines for images, linear for labels and probabilities, a coarse axis on its own"
            }
            Self::Torch => "PyTorch's linear interpolation of all axes at once",
            Self::TorchSeparateAxis => "PyTorch's linear interpolation, a coarse axis on its own",
            Self::Unchanged => "every image keeps its grid",
        }
    }

    /// The function, and its options for images, segmentations and probabilities.
    pub(super) fn functions(self) -> (&'static str, [Json; 3]) {
        let spline = |is_seg: bool, order: u32| {
            Json::object([
                ("is_seg", Json::Bool(is_seg)),
                ("order", order.into()),
                ("order_z", 0.into()),
                ("force_separate_z", Json::Null),
            ])
        };
        let torch = |is_seg: bool| {
            Json::object([
                ("is_seg", Json::Bool(is_seg)),
                ("force_separate_z", false.into()),
                ("memefficient_seg_resampling", false.into()),
            ])
        };
        let torch_separate = |is_seg: bool| {
            Json::object([
                ("is_seg", Json::Bool(is_seg)),
                ("force_separate_z", Json::Null),
                ("memefficient_seg_resampling", false.into()),
                ("separate_z_anisotropy_threshold", (ANISOTROPY_THRESHOLD as usize).into()),
            ])
        };
        match self {
            Self::Spline => {
                ("resample_data_or_seg_to_shape", [spline(false, 3), spline(true, 1), spline(false, 1)])
            }
            Self::Torch => ("resample_torch_fornnunet", [false, true, false].map(torch)),
            Self::TorchSeparateAxis => ("resample_torch_fornnunet", [false, true, false].map(torch_separate)),
            Self::Unchanged => ("no_resampling_hack", [(); 3].map(|()| Json::Object(IndexMap::new()))),
        }
    }
}
