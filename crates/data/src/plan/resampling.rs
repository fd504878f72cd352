//! A resampling function with its options, as a configuration names it.

use nnunet_base::parts::Options;
use nnunet_volume::resample::Method;

use super::values::Document;
use crate::planner::PlanError;
use crate::resampling::ResamplingFunctions;
use nnunet_pyformats::json::Json;

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
    /// A function that is not among `functions`, an option that it does not take, or one of the wrong kind.
    pub fn method(&self, functions: &ResamplingFunctions) -> Result<Option<Method>, PlanError> {
        let function = functions.get(&self.function).map_err(|unknown| {
            let meant = unknown.closest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
            let problem = format!("is {:?}{meant}; known: {}", unknown.name, unknown.known.join(", "));
            PlanError::value(&self.place, self.key, problem)
        })?;
        let kwargs = match Json::Object(self.kwargs.clone()).into() {
            serde_json::Value::Object(kwargs) => kwargs,
            _ => serde_json::Map::new(),
        };
        let what = format!("{}: `{}_kwargs` of {}", self.place, self.key, self.function);
        let mut options = Options::new(what, &kwargs);
        let method = function(&mut options)?;
        options.finish()?;
        Ok(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resampling::{TORCH, resampling_functions};

    #[test]
    fn what_is_not_known_is_named() {
        let error = |function: &str, kwargs: serde_json::Value| {
            let Json::Object(kwargs) = kwargs.into() else { unreachable!() };
            let place = "plans.json, configuration 2d";
            let resampling = Resampling::new(place, "resampling_fn_seg", function.to_owned(), kwargs);
            resampling.method(&resampling_functions()).unwrap_err().to_string()
        };
        let text = error("resample_torch_for_nnunet", serde_json::json!({}));
        assert!(
            text.contains("configuration 2d: `resampling_fn_seg` is \"resample_torch_for_nnunet\""),
            "{text}"
        );
        assert!(text.contains("did you mean resample_torch_fornnunet?"), "{text}");
        let text = error(TORCH, serde_json::json!({"order": 1}));
        assert!(
            text.contains(
                "configuration 2d: `resampling_fn_seg_kwargs` of resample_torch_fornnunet: there is no option"
            ),
            "{text}"
        );
    }
}
