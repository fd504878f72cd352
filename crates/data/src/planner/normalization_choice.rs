//! Which normalisation each channel gets, from its name in dataset.json.

use super::decided::Decided;
use crate::normalization::{Normalizations, for_channel};

/// Below this median ratio of the cropped to the original size, normalisation uses the nonzero mask.
const MASK_THRESHOLD: f64 = 3.0 / 4.0;

/// An image channel with the normalisation that its name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Name in dataset.json.
    pub name: String,
    /// Scheme by its name.
    pub normalization: String,
    /// Whether the scheme may be limited to the nonzero mask.
    pub can_leave_outside: bool,
}

impl Channel {
    /// The channel called `name`, with one of `schemes`.
    pub fn new(name: &str, schemes: &Normalizations) -> Self {
        let normalization = for_channel(schemes, name);
        let can_leave_outside = schemes.get(normalization).is_ok_and(|scheme| scheme.can_leave_outside());
        Self { name: name.to_owned(), normalization: normalization.to_owned(), can_leave_outside }
    }
}

/// The schemes of all channels with the reason for them.
pub(super) fn decided_schemes(channels: &[Channel]) -> Decided<Vec<String>> {
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    Decided::new(
        channels.iter().map(|channel| channel.normalization.clone()).collect(),
        format!("dataset.json: channel_names {names:?}"),
        "the scheme that the channel's name asks for (CT, noNorm, rescale_to_0_1, rgb_to_0_1 and those registered), else \
         z-score",
    )
}

/// For each channel whether the mask limits its normalisation, with the reason: only some schemes can leave the outside
/// at zero, and only datasets that cropping makes much smaller have an outside worth leaving out.
pub(super) fn decided_mask(
    channels: &[Channel],
    median_relative_size_after_cropping: f64,
) -> Decided<Vec<bool>> {
    let size = median_relative_size_after_cropping;
    let below = size < MASK_THRESHOLD;
    let comparison = if below { "less than" } else { "at least" };
    Decided::new(
        channels.iter().map(|channel| below && channel.can_leave_outside).collect(),
        format!("fingerprint: median_relative_size_after_cropping {size:.3}"),
        format!("{comparison} {MASK_THRESHOLD}; only z-score uses the nonzero mask, and only below that"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalization::normalizations;

    #[test]
    fn the_mask_limits_z_score_of_datasets_that_shrink() {
        let channels = ["FLAIR", "CT"].map(|name| Channel::new(name, &normalizations()));
        assert_eq!(decided_schemes(&channels).value, ["ZScoreNormalization", "CTNormalization"]);
        assert_eq!(decided_mask(&channels, 0.7499).value, [true, false]);
        assert_eq!(decided_mask(&channels, 0.75).value, [false, false]);
    }
}
