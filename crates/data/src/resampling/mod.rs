//! The resampling functions that plans name: what each makes of its options.
//!
//! An option that is absent has the default of the reference's function.

mod spline;
mod torch;

use std::sync::Arc;

use nnunet_base::parts::{Named, OptionError, Options};
use nnunet_volume::resample::Method;

/// Splines of the reference's `default_resampling`.
pub(crate) const SPLINE: &str = "resample_data_or_seg_to_shape";
/// PyTorch's interpolation, a coarse axis on its own if asked for.
pub(crate) const TORCH: &str = "resample_torch_fornnunet";
/// PyTorch's interpolation along all axes at once.
const TORCH_SIMPLE: &str = "resample_torch_simple";
/// Everything keeps its grid.
pub(crate) const UNCHANGED: &str = "no_resampling_hack";

/// Turns the options of a resampling function into a way of resampling; `None` if everything keeps its grid. The options
/// that it asks for are those that it takes.
pub type ResamplingFunction =
    Arc<dyn Fn(&mut Options<'_>) -> Result<Option<Method>, OptionError> + Send + Sync>;

/// Resampling functions by their names in the reference.
pub type ResamplingFunctions = Named<ResamplingFunction>;

/// The functions that are built in.
///
/// A program that uses this library registers its own, for plans that name it:
///
/// ```
/// use std::sync::Arc;
///
/// use nnunet_data::Parts;
/// use nnunet_volume::resample::{Interpolation, Method};
///
/// let mut parts = Parts::default();
/// let nearest = || Method::new(Interpolation::Nearest, Interpolation::Nearest);
/// parts.resampling.register("resample_nearest", "nearest voxel", Arc::new(move |_| Ok(Some(nearest()))))?;
/// # Ok::<(), nnunet_base::parts::AlreadyRegistered>(())
/// ```
pub fn resampling_functions() -> ResamplingFunctions {
    let none: ResamplingFunctions = Named::new("resampling function");
    none.with(SPLINE, "splines, a coarse axis on its own", Arc::new(spline::spline))
        .with(TORCH, "PyTorch's interpolation, a coarse axis on its own", Arc::new(torch::separate))
        .with(TORCH_SIMPLE, "PyTorch's interpolation of all axes at once", Arc::new(torch::simple))
        .with(UNCHANGED, "every image keeps its grid", Arc::new(|_| Ok(None)))
}

/// The anisotropy above which a coarse axis is treated on its own.
fn threshold(options: &mut Options<'_>) -> Result<f64, OptionError> {
    options.number("separate_z_anisotropy_threshold", nnunet_volume::resample::ANISOTROPY_THRESHOLD)
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;
    use nnunet_volume::resample::Interpolation;
    use serde_json::Value;

    use super::*;

    fn run(function: &str, kwargs: Value) -> Result<Option<Method>, OptionError> {
        let Value::Object(options) = kwargs else { unreachable!() };
        let choice = Choice { kind: function.to_owned(), options };
        let mut options = choice.reader(function);
        let method = resampling_functions().get(function).unwrap()(&mut options)?;
        options.finish()?;
        Ok(method)
    }

    fn method(function: &str, kwargs: Value) -> Method {
        run(function, kwargs).unwrap().unwrap()
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
        assert_eq!(run(UNCHANGED, serde_json::json!({})).unwrap(), None);
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
        let error = |function, kwargs| run(function, kwargs).unwrap_err().to_string();
        let text = error(TORCH, serde_json::json!({"order": 1}));
        assert!(text.contains("there is no option \"order\"") && text.contains("mode"), "{text}");
        assert!(error(UNCHANGED, serde_json::json!({"order": 1})).contains("it has none"));
        assert!(error(SPLINE, serde_json::json!({"order": 2})).contains("order is 2, expected 0, 1 or 3"));
        assert!(error(SPLINE, serde_json::json!({"force_separate_z": 1})).contains("true, false or null"));
        assert!(error(TORCH, serde_json::json!({"mode": "bicubic"})).contains("expected linear or"));
        let text = error(TORCH, serde_json::json!({"separate_z_anisotropy_threshold": "3"}));
        assert!(text.contains("expected a number"), "{text}");
    }
}
