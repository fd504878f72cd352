//! Intensity normalisation of one channel, by the schemes of the reference.
//!
//! Steps are f32 as in the reference, statistics are summed in f64 (the reference sums in f32; the
//! difference is below 1e-5 of a standard deviation even for images with extreme values). A new
//! scheme is a function and a line in [`SCHEMES`]; programs that use this library register their own
//! ([`NormalizationScheme::register`]).

use std::sync::{PoisonError, RwLock};

use rayon::prelude::*;

use super::error::PreprocessError;
use crate::fingerprint::IntensityStatistics;

/// Smallest divisor.
const EPSILON: f32 = 1e-8;
/// Voxels per unit of parallel work. Sums are combined in the order of these pieces, so results do
/// not depend on the number of threads.
const PIECE: usize = 1 << 16;

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

/// What a scheme does to the voxels of one channel.
pub type Normalize = fn(&mut [f32], &NormalizationInput<'_>) -> Result<(), PreprocessError>;

/// A normalisation scheme.
#[derive(Debug, Clone, Copy)]
pub struct NormalizationScheme {
    /// Name in the plans: that of its class in the reference.
    pub name: &'static str,
    run: Normalize,
}

/// Schemes of the program that uses this library.
static REGISTERED: RwLock<Vec<&'static NormalizationScheme>> = RwLock::new(Vec::new());

/// Every scheme there is.
pub static SCHEMES: [NormalizationScheme; 5] = [
    NormalizationScheme { name: "CTNormalization", run: ct },
    NormalizationScheme { name: "ZScoreNormalization", run: z_score },
    NormalizationScheme { name: "NoNormalization", run: |_, _| Ok(()) },
    NormalizationScheme { name: "RescaleTo01Normalization", run: rescale_to_01 },
    NormalizationScheme { name: "RGBTo01Normalization", run: rgb_to_01 },
];

impl NormalizationScheme {
    /// The scheme of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
        SCHEMES.iter().chain(registered.iter().copied()).find(|scheme| scheme.name == name)
    }

    /// A scheme of your own, for plans that name it in `normalization_schemes`.
    ///
    /// ```
    /// use nnunet_data::preprocess::{NormalizationInput, NormalizationScheme, PreprocessError};
    ///
    /// fn halve(voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
    ///     voxels.iter_mut().for_each(|v| *v *= 0.5);
    ///     Ok(())
    /// }
    ///
    /// static HALVING: NormalizationScheme = NormalizationScheme::new("HalvingNormalization", halve);
    ///
    /// // From now on preprocessing, training and prediction know it.
    /// HALVING.register()?;
    /// assert!(NormalizationScheme::by_name("HalvingNormalization").is_some());
    /// # Ok::<(), PreprocessError>(())
    /// ```
    pub const fn new(name: &'static str, run: Normalize) -> Self {
        Self { name, run }
    }

    /// Makes the scheme known by its name in this process. Once is enough.
    ///
    /// # Errors
    /// There is another scheme of this name.
    pub fn register(&'static self) -> Result<(), PreprocessError> {
        let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = SCHEMES.iter().chain(registered.iter().copied());
        match known.find(|scheme| scheme.name == self.name) {
            Some(same) if std::ptr::eq(same, self) => Ok(()),
            Some(_) => Err(PreprocessError::SchemeExists { name: self.name }),
            None => {
                registered.push(self);
                Ok(())
            }
        }
    }

    /// Normalises one channel in place.
    pub fn run(&self, voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
        (self.run)(voxels, input)
    }
}

/// Clips to the 0.5th and 99.5th percentile of the dataset's foreground, then its mean and deviation.
fn ct(voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
    let Some(intensities) = input.intensities else {
        return Err(PreprocessError::NoIntensities { channel: input.channel, scheme: "CTNormalization" });
    };
    let (lower, upper) = (intensities.percentile_00_5 as f32, intensities.percentile_99_5 as f32);
    let mean = intensities.mean as f32;
    let deviation = intensities.std.max(f64::from(EPSILON)) as f32;
    each(voxels, |v| (v.max(lower).min(upper) - mean) / deviation);
    Ok(())
}

/// Mean 0 and deviation 1 of the whole image, or of the voxels within the mask (those outside stay).
fn z_score(voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
    match input.mask {
        None => {
            let (mean, deviation) = moments(voxels, None);
            each(voxels, |v| (v - mean) / deviation);
        }
        Some(mask) => {
            let (mean, deviation) = moments(voxels, Some(mask));
            voxels.par_chunks_mut(PIECE).zip(mask.par_chunks(PIECE)).for_each(|(voxels, mask)| {
                for (v, _) in voxels.iter_mut().zip(mask).filter(|(_, label)| **label >= 0) {
                    *v = (*v - mean) / deviation;
                }
            });
        }
    }
    Ok(())
}

/// Smallest value to 0, largest to 1.
fn rescale_to_01(voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
    let (lowest, highest) = range(voxels);
    let width = (highest - lowest).max(EPSILON);
    each(voxels, |v| (v - lowest) / width);
    Ok(())
}

/// Divides colours by 255.
fn rgb_to_01(voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), PreprocessError> {
    let (lowest, highest) = range(voxels);
    if lowest < 0.0 || highest > 255.0 {
        return Err(PreprocessError::NotRgb { channel: input.channel, lowest, highest });
    }
    each(voxels, |v| v / 255.0);
    Ok(())
}

fn each(voxels: &mut [f32], map: impl Fn(f32) -> f32 + Sync) {
    voxels.par_chunks_mut(PIECE).for_each(|piece| piece.iter_mut().for_each(|v| *v = map(*v)));
}

fn range(voxels: &[f32]) -> (f32, f32) {
    voxels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Mean and population deviation (at least [`EPSILON`]) of the voxels within the mask.
fn moments(voxels: &[f32], mask: Option<&[i16]>) -> (f32, f32) {
    let inside = |piece: usize, offset: usize| mask.is_none_or(|mask| mask[piece * PIECE + offset] >= 0);
    let total = |value: &(dyn Fn(f64) -> f64 + Sync)| -> (f64, u64) {
        let pieces: Vec<(f64, u64)> = voxels
            .par_chunks(PIECE)
            .enumerate()
            .map(|(piece, voxels)| {
                let mut sum = 0.0;
                let mut count = 0;
                for (offset, &v) in voxels.iter().enumerate() {
                    if inside(piece, offset) {
                        sum += value(f64::from(v));
                        count += 1;
                    }
                }
                (sum, count)
            })
            .collect();
        pieces.iter().fold((0.0, 0), |all, piece| (all.0 + piece.0, all.1 + piece.1))
    };
    let (sum, count) = total(&|v| v);
    if count == 0 {
        return (0.0, 1.0);
    }
    let mean = sum / count as f64;
    let (squares, _) = total(&|v| (v - mean) * (v - mean));
    (mean as f32, ((squares / count as f64).sqrt() as f32).max(EPSILON))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, voxels: &[f32], mask: Option<&[i16]>) -> Result<Vec<f32>, PreprocessError> {
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
        NormalizationScheme::by_name(name).unwrap().run(&mut voxels, &input)?;
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
        assert!(NormalizationScheme::by_name("Z").is_none());
    }

    #[test]
    fn own_schemes_are_found_once_registered() {
        static OWN: NormalizationScheme = NormalizationScheme::new("OwnNormalization", |voxels, _| {
            voxels.fill(1.0);
            Ok(())
        });
        static TWIN: NormalizationScheme = NormalizationScheme::new("OwnNormalization", |_, _| Ok(()));
        static TAKEN: NormalizationScheme = NormalizationScheme::new("CTNormalization", |_, _| Ok(()));
        assert!(NormalizationScheme::by_name("OwnNormalization").is_none());
        OWN.register().unwrap();
        OWN.register().unwrap();
        assert_eq!(run("OwnNormalization", &[5.0], None).unwrap(), [1.0]);
        assert!(TWIN.register().unwrap_err().to_string().contains("OwnNormalization"));
        assert!(TAKEN.register().is_err());
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
