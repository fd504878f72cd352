//! Options that several losses share.

use nnunet_base::parts::{OptionError, Options};

use super::built_in::LossFacts;

/// A number of at least 0.
pub(super) fn at_least_0(
    options: &mut Options<'_>,
    name: &'static str,
    default: f64,
) -> Result<f64, OptionError> {
    options.number_where(name, default, "a number of at least 0", |number| number >= 0.0)
}

/// Regions have no background, and no option for it.
pub(super) fn background(options: &mut Options<'_>, facts: &LossFacts) -> Result<bool, OptionError> {
    if facts.regions { Ok(false) } else { options.switch("background", false) }
}

/// A weight for each class, not all 0.
pub(super) fn class_weights(
    options: &mut Options<'_>,
    facts: &LossFacts,
) -> Result<Option<Vec<f64>>, OptionError> {
    const NAME: &str = "class_weights";
    let weights = options.optional_numbers(NAME)?;
    let fits =
        |w: &Vec<f64>| w.len() == facts.classes && w.iter().all(|w| *w >= 0.0) && w.iter().any(|w| *w > 0.0);
    if weights.as_ref().is_none_or(fits) {
        return Ok(weights);
    }
    let what = if facts.regions { "one per region" } else { "one per label with the background" };
    let expected = format!("{} numbers of at least 0 ({what}), one of them above 0", facts.classes);
    Err(options.invalid(NAME, expected))
}

/// Voxel size in mm along (z, y, x).
pub(super) fn spacing(options: &mut Options<'_>) -> Result<[f64; 3], OptionError> {
    const NAME: &str = "spacing";
    let Some(given) = options.optional_numbers(NAME)? else { return Ok([1.0; 3]) };
    match <[f64; 3]>::try_from(given) {
        Ok(spacing) if spacing.iter().all(|s| *s > 0.0) => Ok(spacing),
        _ => Err(options.invalid(NAME, "three lengths above 0 along (z, y, x)")),
    }
}
