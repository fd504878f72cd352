//! Which normalisation each channel gets, from its name in dataset.json.

use super::decided::Decided;

/// Below this median ratio of the cropped to the original size, normalisation uses the nonzero mask.
const MASK_THRESHOLD: f64 = 3.0 / 4.0;

/// Name of the reference's normalisation class for a channel called `channel_name` (case does not matter).
pub fn normalization_scheme(channel_name: &str) -> &'static str {
    match channel_name.to_lowercase().as_str() {
        "ct" => "CTNormalization",
        "nonorm" => "NoNormalization",
        "rescale_to_0_1" => "RescaleTo01Normalization",
        "rgb_to_0_1" => "RGBTo01Normalization",
        _ => "ZScoreNormalization",
    }
}

/// The schemes of all channels with the reason for them.
pub(super) fn decided_schemes(channel_names: &[String]) -> Decided<Vec<&'static str>> {
    Decided::new(
        channel_names.iter().map(|name| normalization_scheme(name)).collect(),
        format!("dataset.json: channel_names {channel_names:?}"),
        "the scheme that the channel's name asks for (CT, noNorm, rescale_to_0_1, rgb_to_0_1), else z-score",
    )
}

/// For each of `schemes` whether the mask limits it, with the reason.
pub(super) fn decided_mask(schemes: &[&str], median_relative_size_after_cropping: f64) -> Decided<Vec<bool>> {
    let size = median_relative_size_after_cropping;
    let comparison = if size < MASK_THRESHOLD { "less than" } else { "at least" };
    Decided::new(
        schemes.iter().map(|scheme| uses_mask(scheme, size)).collect(),
        format!("fingerprint: median_relative_size_after_cropping {size:.3}"),
        format!("{comparison} {MASK_THRESHOLD}; only z-score uses the nonzero mask, and only below that"),
    )
}

/// Whether the nonzero mask limits normalisation with `scheme`: only z-score can leave the outside
/// at zero, and only datasets that cropping makes much smaller have an outside worth leaving out.
pub fn uses_mask(scheme: &str, median_relative_size_after_cropping: f64) -> bool {
    median_relative_size_after_cropping < MASK_THRESHOLD && scheme == "ZScoreNormalization"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_meaning_are_z_scored() {
        assert_eq!(normalization_scheme("CT"), "CTNormalization");
        assert_eq!(normalization_scheme("noNorm"), "NoNormalization");
        assert_eq!(normalization_scheme("Rescale_To_0_1"), "RescaleTo01Normalization");
        assert_eq!(normalization_scheme("FLAIR"), "ZScoreNormalization");
        assert_eq!(normalization_scheme("CT "), "ZScoreNormalization");
        assert!(uses_mask("ZScoreNormalization", 0.7499));
        assert!(!uses_mask("ZScoreNormalization", 0.75));
        assert!(!uses_mask("CTNormalization", 0.1));
    }
}
