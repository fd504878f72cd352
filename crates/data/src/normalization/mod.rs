//! Intensity normalisation of one channel, by the schemes of the reference.
//!
//! Steps are f32 as in the reference, statistics are summed in f64 (the reference sums in f32; the difference is below 1e-5
//! of a standard deviation even for images with extreme values).

mod ct;
mod rescale_to_01;
mod rgb_to_01;
mod unchanged;
mod voxels;
mod z_score;

use std::fmt::Debug;
use std::sync::Arc;

use nnunet_base::parts::Named;

use crate::fingerprint::IntensityStatistics;

/// Scheme of channels whose name asks for none.
const FALLBACK: &str = "ZScoreNormalization";

/// Normalises channels. Plans name it in `normalization_schemes`.
///
/// ```
/// use std::sync::Arc;
///
/// use nnunet_data::Parts;
/// use nnunet_data::normalization::{Normalization, NormalizationError, NormalizationInput};
///
/// /// Half of everything, for channels called `bright`.
/// #[derive(Debug)]
/// struct Halving;
///
/// impl Normalization for Halving {
///     fn channel_names(&self) -> &[&str] {
///         &["bright"]
///     }
///
///     fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
///         voxels.iter_mut().for_each(|v| *v *= 0.5);
///         Ok(())
///     }
/// }
///
/// let mut parts = Parts::default();
/// parts.normalizations.register("HalvingNormalization", "half of everything", Arc::new(Halving))?;
/// # Ok::<(), nnunet_base::parts::AlreadyRegistered>(())
/// ```
pub trait Normalization: Debug + Send + Sync {
    /// Names of channels in dataset.json that ask for this scheme, in lower case.
    fn channel_names(&self) -> &[&str] {
        &[]
    }

    /// Whether voxels outside of the nonzero mask may stay as they are, so that planning may limit the scheme to the mask.
    fn can_leave_outside(&self) -> bool {
        false
    }

    /// Normalises one channel in place.
    ///
    /// # Errors
    /// Voxels or plans that the scheme cannot work with.
    fn run(&self, voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), NormalizationError>;
}

/// What a scheme may look at beside the voxels.
#[derive(Debug, Clone, Copy)]
pub struct NormalizationInput<'a> {
    /// Number of the channel, for messages.
    pub channel: usize,
    /// Segmentation whose negative voxels lie outside the nonzero mask; given if the plans say so.
    pub mask: Option<&'a [i16]>,
    /// Foreground intensities of the channel over the dataset.
    pub intensities: Option<&'a IntensityStatistics>,
}

/// Schemes by the names of their classes in the reference.
pub type Normalizations = Named<Arc<dyn Normalization>>;

/// The schemes that are built in.
pub fn normalizations() -> Normalizations {
    let none: Normalizations = Named::new("normalisation");
    none.with("CTNormalization", "intensities of the dataset's foreground", Arc::new(ct::Ct))
        .with("ZScoreNormalization", "mean 0 and deviation 1", Arc::new(z_score::ZScore))
        .with("NoNormalization", "unchanged", Arc::new(unchanged::Unchanged))
        .with("RescaleTo01Normalization", "smallest value 0, largest 1", Arc::new(rescale_to_01::RescaleTo01))
        .with("RGBTo01Normalization", "colours divided by 255", Arc::new(rgb_to_01::RgbTo01))
}

/// Name of the scheme for a channel called `channel_name` (case does not matter): the one that it asks for, else z-score.
pub fn for_channel<'a>(schemes: &'a Normalizations, channel_name: &str) -> &'a str {
    let wanted = channel_name.to_lowercase();
    let asked = schemes.iter().find(|(_, _, scheme)| scheme.channel_names().contains(&wanted.as_str()));
    asked.map_or(FALLBACK, |(name, ..)| name)
}

/// Why a channel cannot be normalised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NormalizationError {
    /// The scheme needs the intensities of the dataset.
    #[error(
        "channel {channel}: its normalisation needs foreground intensities, which the plans do not have for it; plan again"
    )]
    NoIntensities {
        /// The channel.
        channel: usize,
    },
    /// Intensities that are no colours.
    #[error(
        "channel {channel}: intensities from {lowest} to {highest}; RGBTo01Normalization expects 0 to 255"
    )]
    NotRgb {
        /// The channel.
        channel: usize,
        /// Smallest value.
        lowest: f32,
        /// Largest value.
        highest: f32,
    },
    /// What a scheme from outside cannot work with.
    #[error("channel {channel}: {problem}")]
    Other {
        /// The channel.
        channel: usize,
        /// What was found and what was expected.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::voxels::PIECE;
    use super::*;

    fn run(name: &str, voxels: &[f32], mask: Option<&[i16]>) -> Result<Vec<f32>, NormalizationError> {
        let intensities = IntensityStatistics {
            max: 9.0,
            mean: 2.0,
            median: 2.0,
            min: -9.0,
            percentile_00_5: -3.0,
            percentile_99_5: 6.0,
            std: 4.0,
        };
        let mut voxels = voxels.to_vec();
        let input = NormalizationInput { channel: 3, mask, intensities: Some(&intensities) };
        normalizations().get(name).unwrap().run(&mut voxels, &input)?;
        Ok(voxels)
    }

    #[test]
    fn schemes_by_hand() {
        assert_eq!(run("CTNormalization", &[-5.0, 2.0, 10.0], None).unwrap(), [-1.25, 0.0, 1.0]);
        assert_eq!(run("ZScoreNormalization", &[1.0, 3.0], None).unwrap(), [-1.0, 1.0]);
        assert_eq!(
            run("ZScoreNormalization", &[7.0, 1.0, 3.0], Some(&[-1, 0, 2])).unwrap(),
            [7.0, -1.0, 1.0]
        );
        assert_eq!(run("NoNormalization", &[-5.0, 2.0], None).unwrap(), [-5.0, 2.0]);
        assert_eq!(run("RescaleTo01Normalization", &[-2.0, 0.0, 2.0], None).unwrap(), [0.0, 0.5, 1.0]);
        assert_eq!(run("RGBTo01Normalization", &[0.0, 51.0], None).unwrap(), [0.0, 0.2]);
        assert!(normalizations().get("Z").is_err());
    }

    #[test]
    fn channel_names_choose_schemes() {
        let mut all = normalizations();
        for (channel, scheme) in [
            ("CT", "CTNormalization"),
            ("noNorm", "NoNormalization"),
            ("Rescale_To_0_1", "RescaleTo01Normalization"),
            ("FLAIR", "ZScoreNormalization"),
            ("CT ", "ZScoreNormalization"),
        ] {
            assert_eq!(for_channel(&all, channel), scheme);
        }
        assert!(
            all.iter().all(|(name, _, scheme)| scheme.can_leave_outside() == (name == "ZScoreNormalization"))
        );

        #[derive(Debug)]
        struct Own;
        impl Normalization for Own {
            fn channel_names(&self) -> &[&str] {
                &["pet"]
            }

            fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
                voxels.fill(1.0);
                Ok(())
            }
        }
        all.register("OwnNormalization", "all ones", Arc::new(Own)).unwrap();
        assert_eq!(for_channel(&all, "PET"), "OwnNormalization");
        assert!(all.register("CTNormalization", "taken", Arc::new(Own)).is_err());
    }

    #[test]
    fn constant_and_empty_images_stay_finite() {
        assert_eq!(run("ZScoreNormalization", &[7.5; 9], None).unwrap(), [0.0; 9]);
        assert_eq!(run("RescaleTo01Normalization", &[7.5; 9], None).unwrap(), [0.0; 9]);
        assert_eq!(run("ZScoreNormalization", &[7.5; 2], Some(&[-1, -1])).unwrap(), [7.5; 2]);
    }

    #[test]
    fn colours_beyond_255_are_refused() {
        let text = run("RGBTo01Normalization", &[0.0, 256.0], None).unwrap_err().to_string();
        assert!(text.contains("channel 3") && text.contains("0 to 256"), "{text}");
    }

    #[test]
    fn pieces_add_up() {
        let voxels: Vec<f32> = (0..3 * PIECE + 7).map(|i| (i % 1001) as f32).collect();
        let out = run("ZScoreNormalization", &voxels, None).unwrap();
        let mean = out.iter().map(|&v| f64::from(v)).sum::<f64>() / out.len() as f64;
        let square = out.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / out.len() as f64;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6, "{mean} {square}");
    }
}
