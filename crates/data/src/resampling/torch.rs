//! `resample_torch_fornnunet` and `resample_torch_simple`: PyTorch's interpolation.

use nnunet_base::parts::{OptionError, Options};
use nnunet_volume::resample::{Interpolation, Method};

use super::threshold;

/// A coarse axis on its own if asked for.
pub(super) fn separate(options: &mut Options<'_>) -> Result<Option<Method>, OptionError> {
    ignore_those_of_pytorch(options);
    let in_plane = options.word("mode", &["linear", "bilinear", "trilinear", "nearest", "nearest-exact"])?;
    let across =
        options.word("aniso_axis_mode", &["nearest-exact", "nearest", "linear", "bilinear", "trilinear"])?;
    Ok(Some(Method {
        // The reference hands `mode` on only where an axis is treated separately.
        together: Interpolation::TorchLinear,
        in_plane: interpolation(in_plane),
        across: interpolation(across),
        force_separate: options.switch_or_null("force_separate_z", None)?,
        anisotropy_threshold: threshold(options)?,
        majority_only: majority_only(options)?,
    }))
}

/// All axes at once.
pub(super) fn simple(options: &mut Options<'_>) -> Result<Option<Method>, OptionError> {
    ignore_those_of_pytorch(options);
    let mode = options.word("mode", &["linear", "bilinear", "trilinear", "nearest", "nearest-exact"])?;
    Ok(Some(Method {
        force_separate: Some(false),
        majority_only: majority_only(options)?,
        ..Method::new(interpolation(mode), Interpolation::TorchLinear)
    }))
}

/// Options that change no result.
fn ignore_those_of_pytorch(options: &mut Options<'_>) {
    for name in ["is_seg", "num_threads", "device"] {
        options.ignore(name);
    }
}

fn majority_only(options: &mut Options<'_>) -> Result<bool, OptionError> {
    Ok(options.switch_or_null("memefficient_seg_resampling", None)?.unwrap_or(false))
}

fn interpolation(mode: &str) -> Interpolation {
    match mode {
        "nearest" => Interpolation::TorchNearest,
        "nearest-exact" => Interpolation::TorchNearestExact,
        _ => Interpolation::TorchLinear,
    }
}
