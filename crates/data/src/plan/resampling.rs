//! The resampling functions that plans name, with their options, as ways of resampling.

use nnunet_volume::resample::{ANISOTROPY_THRESHOLD, Interpolation, Method};

use super::values::{Document, shown, whole};
use crate::planner::PlanError;
use nnunet_base::spelling::closest;
use nnunet_pyformats::json::Json;

/// Splines of the reference's `default_resampling`.
pub(super) const SPLINE: &str = "resample_data_or_seg_to_shape";
/// PyTorch's interpolation, a coarse axis on its own if asked for.
pub(super) const TORCH: &str = "resample_torch_fornnunet";
/// PyTorch's interpolation along all axes at once.
const TORCH_SIMPLE: &str = "resample_torch_simple";
/// Everything keeps its grid.
pub(super) const UNCHANGED: &str = "no_resampling_hack";

/// Each function with the options it takes. `num_threads` and `device` are PyTorch's and change no result.
const FUNCTIONS: [(&str, &[&str]); 4] = [
    (SPLINE, &["is_seg", "order", "order_z", "force_separate_z", "separate_z_anisotropy_threshold"]),
    (
        TORCH,
        &[
            "is_seg",
            "num_threads",
            "device",
            "memefficient_seg_resampling",
            "force_separate_z",
            "separate_z_anisotropy_threshold",
            "mode",
            "aniso_axis_mode",
        ],
    ),
    (TORCH_SIMPLE, &["is_seg", "num_threads", "device", "memefficient_seg_resampling", "mode"]),
    (UNCHANGED, &[]),
];

/// A resampling function by its name in the reference, with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampling {
    /// Name of the function, e.g. `resample_data_or_seg_to_shape`.
    pub function: String,
    /// Options as in the file.
    pub kwargs: Document,
    place: String,
    key: &'static str,
}

impl Resampling {
    /// The function `function` under `key` of the configuration that `place` names in errors.
    pub(super) fn new(place: &str, key: &'static str, function: String, kwargs: Document) -> Self {
        Self { function, kwargs, place: place.to_owned(), key }
    }

    /// What the function does; `None` if it leaves everything on its grid.
    ///
    /// # Errors
    /// A function or an option that is not known, or an option of the wrong kind.
    pub fn method(&self) -> Result<Option<Method>, PlanError> {
        let Some((function, options)) = FUNCTIONS.iter().find(|(name, _)| *name == self.function) else {
            let names = FUNCTIONS.map(|(name, _)| name);
            let hint =
                closest(&self.function, names).map_or_else(String::new, |n| format!("; did you mean {n}?"));
            let problem = format!("is {:?}; known are {}{hint}", self.function, names.join(", "));
            return Err(PlanError::value(&self.place, self.key, problem));
        };
        if let Some(unknown) = self.kwargs.keys().find(|key| !options.contains(&key.as_str())) {
            let takes = if options.is_empty() { "no options".to_owned() } else { options.join(", ") };
            return Err(self.problem(format!("has {unknown:?}; {function} takes {takes}")));
        }
        // An option that is absent has the default of the reference's function.
        match *function {
            UNCHANGED => Ok(None),
            SPLINE => {
                let in_plane = self.order("order", 3)?;
                Ok(Some(Method {
                    force_separate: self.separate(Some(false))?,
                    anisotropy_threshold: self.threshold()?,
                    ..Method::new(in_plane, self.order("order_z", 0)?)
                }))
            }
            TORCH_SIMPLE => Ok(Some(Method {
                force_separate: Some(false),
                majority_only: self.flag("memefficient_seg_resampling")?.unwrap_or(false),
                ..Method::new(self.mode("mode", Interpolation::TorchLinear)?, Interpolation::TorchLinear)
            })),
            _ => Ok(Some(Method {
                // The reference hands `mode` on only where an axis is treated separately.
                together: Interpolation::TorchLinear,
                in_plane: self.mode("mode", Interpolation::TorchLinear)?,
                across: self.mode("aniso_axis_mode", Interpolation::TorchNearestExact)?,
                force_separate: self.separate(None)?,
                anisotropy_threshold: self.threshold()?,
                majority_only: self.flag("memefficient_seg_resampling")?.unwrap_or(false),
            })),
        }
    }

    fn problem(&self, problem: String) -> PlanError {
        PlanError::value(&self.place, format!("{}_kwargs", self.key), problem)
    }

    fn order(&self, name: &str, default: u64) -> Result<Interpolation, PlanError> {
        let value = self.kwargs.get(name);
        let order = value.map_or(Some(default), |value| whole(value, 5).map(|order| order as u64));
        order.and_then(Interpolation::of_order).ok_or_else(|| {
            self.problem(format!("has {name} {}; expected 0, 1 or 3", shown(value.unwrap_or(&Json::Null))))
        })
    }

    fn mode(&self, name: &str, default: Interpolation) -> Result<Interpolation, PlanError> {
        let Some(value) = self.kwargs.get(name) else { return Ok(default) };
        match value.as_str() {
            Some("linear" | "bilinear" | "trilinear") => Ok(Interpolation::TorchLinear),
            Some("nearest") => Ok(Interpolation::TorchNearest),
            Some("nearest-exact") => Ok(Interpolation::TorchNearestExact),
            _ => {
                let problem =
                    format!("has {name} {}; expected linear, nearest or nearest-exact", shown(value));
                Err(self.problem(problem))
            }
        }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, PlanError> {
        match self.kwargs.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => {
                Err(self.problem(format!("has {name} {}; expected true, false or null", shown(value))))
            }
        }
    }

    /// `force_separate_z`: null means that the spacing decides.
    fn separate(&self, default: Option<bool>) -> Result<Option<bool>, PlanError> {
        if self.kwargs.contains_key("force_separate_z") { self.flag("force_separate_z") } else { Ok(default) }
    }

    fn threshold(&self) -> Result<f64, PlanError> {
        let name = "separate_z_anisotropy_threshold";
        let Some(value) = self.kwargs.get(name) else { return Ok(ANISOTROPY_THRESHOLD) };
        value
            .as_f64()
            .filter(|threshold| threshold.is_finite())
            .ok_or_else(|| self.problem(format!("has {name} {}; expected a number", shown(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampling(function: &str, kwargs: serde_json::Value) -> Resampling {
        let Json::Object(kwargs) = kwargs.into() else { unreachable!() };
        Resampling::new("plans.json, configuration 2d", "resampling_fn_seg", function.to_owned(), kwargs)
    }

    fn method(function: &str, kwargs: serde_json::Value) -> Method {
        resampling(function, kwargs).method().unwrap().unwrap()
    }

    #[test]
    fn absent_options_have_the_defaults_of_the_functions() {
        use Interpolation::{Cubic, Nearest, TorchLinear, TorchNearestExact};
        let spline = method(SPLINE, serde_json::json!({}));
        assert_eq!((spline.in_plane, spline.across, spline.force_separate), (Cubic, Nearest, Some(false)));
        assert_eq!(spline.anisotropy_threshold, 3.0);
        let torch = method(TORCH, serde_json::json!({}));
        assert_eq!(
            (torch.together, torch.in_plane, torch.across),
            (TorchLinear, TorchLinear, TorchNearestExact)
        );
        assert_eq!((torch.force_separate, torch.majority_only), (None, false));
        assert_eq!(method(TORCH_SIMPLE, serde_json::json!({})).force_separate, Some(false));
        assert_eq!(resampling(UNCHANGED, serde_json::json!({})).method().unwrap(), None);
    }

    #[test]
    fn options_are_taken() {
        use Interpolation::{Linear, TorchLinear, TorchNearest};
        let spline = method(
            SPLINE,
            serde_json::json!({"is_seg": true, "order": 1, "order_z": 1, "force_separate_z": null,
                               "separate_z_anisotropy_threshold": 5}),
        );
        assert_eq!(
            (spline.together, spline.across, spline.force_separate, spline.anisotropy_threshold),
            (Linear, Linear, None, 5.0)
        );
        let torch = method(
            TORCH,
            serde_json::json!({"mode": "nearest", "aniso_axis_mode": "linear", "force_separate_z": true,
                               "memefficient_seg_resampling": true, "num_threads": 8, "device": "cpu"}),
        );
        // All axes at once are always linear.
        assert_eq!((torch.together, torch.in_plane, torch.across), (TorchLinear, TorchNearest, TorchLinear));
        assert!(torch.majority_only && torch.force_separate == Some(true));
        assert_eq!(method(TORCH_SIMPLE, serde_json::json!({"mode": "nearest"})).together, TorchNearest);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let error = |function, kwargs| resampling(function, kwargs).method().unwrap_err().to_string();
        let text = error("resample_torch_for_nnunet", serde_json::json!({}));
        assert!(
            text.contains("configuration 2d: `resampling_fn_seg` is \"resample_torch_for_nnunet\""),
            "{text}"
        );
        assert!(text.contains("did you mean resample_torch_fornnunet?"), "{text}");
        let text = error(TORCH, serde_json::json!({"order": 1}));
        assert!(
            text.contains("resampling_fn_seg_kwargs` has \"order\"; resample_torch_fornnunet takes"),
            "{text}"
        );
        assert!(error(UNCHANGED, serde_json::json!({"order": 1})).contains("takes no options"));
        assert!(error(SPLINE, serde_json::json!({"order": 2})).contains("has order 2; expected 0, 1 or 3"));
        assert!(error(SPLINE, serde_json::json!({"force_separate_z": 1})).contains("true, false or null"));
        assert!(error(TORCH, serde_json::json!({"mode": "bicubic"})).contains("expected linear, nearest"));
        let text = error(TORCH, serde_json::json!({"separate_z_anisotropy_threshold": "3"}));
        assert!(text.contains("expected a number"), "{text}");
    }
}
