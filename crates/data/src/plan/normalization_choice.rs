//! Which normalisation each channel gets, from its name in dataset.json.

/// Below this median ratio of the cropped to the original size, normalisation uses the nonzero mask.
pub(super) const MASK_THRESHOLD: f64 = 3.0 / 4.0;

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
