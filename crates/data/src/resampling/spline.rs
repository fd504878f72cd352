//! `resample_data_or_seg_to_shape`: splines, a coarse axis on its own if asked for.

use nnunet_base::parts::{OptionError, Options};
use nnunet_volume::resample::{Interpolation, Method};

use super::threshold;

pub(super) fn spline(options: &mut Options<'_>) -> Result<Option<Method>, OptionError> {
    // Which of images and labels it is, the caller knows.
    options.ignore("is_seg");
    let in_plane = order(options, "order", 3)?;
    Ok(Some(Method {
        force_separate: options.switch_or_null("force_separate_z", Some(false))?,
        anisotropy_threshold: threshold(options)?,
        ..Method::new(in_plane, order(options, "order_z", 0)?)
    }))
}

fn order(
    options: &mut Options<'_>,
    name: &'static str,
    default: usize,
) -> Result<Interpolation, OptionError> {
    let order = options.count(name, default)?;
    Interpolation::of_order(order as u64).ok_or_else(|| options.invalid(name, "0, 1 or 3"))
}
