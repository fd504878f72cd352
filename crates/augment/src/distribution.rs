//! Numbers that are drawn for every sample, and decisions for every channel, as options write them.

use nnunet_base::parts::{OptionError, Options};
use serde_json::Value;

use super::random::{SampleRng, UniformRange, decide};
use super::transform::BuildContext;
use rand::RngExt;

/// How a parameter of a transform is drawn.
///
/// Options write `3` for a fixed number, `[low, high]` for a uniform one, and `[[a, b], [c, d]]` for one of several
/// ranges, each as likely as the others: `[[0.75, 1], [1, 1.25]]` is below one half of the time.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// Always this number; nothing is drawn.
    Fixed(f64),
    /// Uniform in one of these ranges.
    Ranges(Vec<UniformRange>),
}

/// What options may write, in words.
const EXPECTED: &str = "a number, [low, high] or a list of such ranges";

impl Distribution {
    /// Uniform from `low` to `high`.
    pub fn uniform(low: f64, high: f64) -> Self {
        Self::Ranges(vec![UniformRange::new(low, high)])
    }

    /// Below `middle` one half of the time.
    pub fn around(low: f64, middle: f64, high: f64) -> Self {
        Self::Ranges(vec![UniformRange::new(low, middle), UniformRange::new(middle, high)])
    }

    /// The option `name`, if it is given.
    ///
    /// # Errors
    /// Anything else than [`Distribution`] describes.
    pub fn optional(options: &mut Options<'_>, name: &'static str) -> Result<Option<Self>, OptionError> {
        options.read(name, EXPECTED, Self::from_value)
    }

    /// The option `name`.
    ///
    /// # Errors
    /// As [`Distribution::optional`].
    pub fn read(options: &mut Options<'_>, name: &'static str, default: Self) -> Result<Self, OptionError> {
        Ok(Self::optional(options, name)?.unwrap_or(default))
    }

    /// The option `name`, all of whose values have to lie between `low` and `high` (both included).
    ///
    /// # Errors
    /// As [`Distribution::optional`], and values outside of these limits.
    pub fn read_within(
        options: &mut Options<'_>,
        name: &'static str,
        default: Self,
        limits: [f64; 2],
    ) -> Result<Self, OptionError> {
        Ok(Self::optional_within(options, name, limits)?.unwrap_or(default))
    }

    /// The option `name`, if it is given, within limits as in [`Distribution::read_within`].
    ///
    /// # Errors
    /// As [`Distribution::read_within`].
    pub fn optional_within(
        options: &mut Options<'_>,
        name: &'static str,
        [low, high]: [f64; 2],
    ) -> Result<Option<Self>, OptionError> {
        let expected = match high.is_finite() {
            true => format!("{EXPECTED}, within {low} to {high}"),
            false => format!("{EXPECTED}, of at least {low}"),
        };
        let valid = |value: &Value| Self::from_value(value).filter(|d| d.lies_within([low, high]));
        options.read(name, &expected, valid)
    }

    /// The same with every number replaced by what `change` makes of it, which has to keep their order.
    #[must_use]
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Fixed(number) => Self::Fixed(change(number)),
            Self::Ranges(ranges) => Self::Ranges(
                ranges.into_iter().map(|r| UniformRange::new(change(r.low), change(r.high))).collect(),
            ),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        let range = |value: &Value| {
            let numbers = value.as_array()?;
            let [low, high] = numbers.as_slice() else { return None };
            let range = UniformRange::new(low.as_f64()?, high.as_f64()?);
            (range.low.is_finite() && range.high.is_finite() && range.low <= range.high).then_some(range)
        };
        if let Some(number) = value.as_f64() {
            return number.is_finite().then_some(Self::Fixed(number));
        }
        if let Some(range) = range(value) {
            return Some(Self::Ranges(vec![range]));
        }
        let ranges: Vec<UniformRange> = value.as_array()?.iter().map(range).collect::<Option<_>>()?;
        (!ranges.is_empty()).then_some(Self::Ranges(ranges))
    }

    fn lies_within(&self, [low, high]: [f64; 2]) -> bool {
        match self {
            Self::Fixed(number) => (low..=high).contains(number),
            Self::Ranges(ranges) => ranges.iter().all(|range| range.low >= low && range.high <= high),
        }
    }

    /// Draws a number.
    pub fn sample(&self, rng: &mut SampleRng) -> f64 {
        match self {
            Self::Fixed(number) => *number,
            Self::Ranges(ranges) => match ranges.as_slice() {
                [] => 0.0,
                [range] => range.sample(rng),
                ranges => {
                    let index = (rng.random::<f64>() * ranges.len() as f64) as usize;
                    ranges[index.min(ranges.len() - 1)].sample(rng)
                }
            },
        }
    }
}

/// A range of whole numbers, both ends included; options write `3` or `[1, 4]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountRange {
    /// Smallest number.
    pub low: usize,
    /// Largest number.
    pub high: usize,
}

impl CountRange {
    /// The numbers from `low` to `high`.
    pub const fn new(low: usize, high: usize) -> Self {
        Self { low, high }
    }

    /// The option `name`, whose numbers are at least `least`.
    ///
    /// # Errors
    /// Anything but a whole number or two in ascending order.
    pub fn read(
        options: &mut Options<'_>,
        name: &'static str,
        default: Self,
        least: usize,
    ) -> Result<Self, OptionError> {
        let expected = format!("a whole number or [lowest, highest], of at least {least}");
        let read = |value: &Value| Self::from_value(value).filter(|range| range.low >= least);
        Ok(options.read(name, &expected, read)?.unwrap_or(default))
    }

    /// A number as in options, or two.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let count = |value: &Value| usize::try_from(value.as_u64()?).ok();
        if let Some(number) = count(value) {
            return Some(Self::new(number, number));
        }
        match value.as_array()?.as_slice() {
            [low, high] => Some(Self::new(count(low)?, count(high)?)).filter(|range| range.low <= range.high),
            _ => None,
        }
    }

    /// Draws a number; nothing is drawn where there is one only.
    pub fn sample(&self, rng: &mut SampleRng) -> usize {
        if self.low == self.high { self.low } else { rng.random_range(self.low..=self.high) }
    }
}

/// Which channels of the image a transform changes, and whether they share its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelChoice {
    /// Probability of each channel.
    pub probability: f64,
    /// One draw of the parameters for all channels.
    pub synchronised: bool,
    /// Channels that may change; `None` for all.
    pub channels: Option<Vec<usize>>,
}

impl ChannelChoice {
    /// Reads the options `channel_probability` (1 unless given), `synchronised_channels` and `channels`.
    ///
    /// # Errors
    /// Options of another kind, and channels that the configuration's images do not have.
    pub fn read(
        options: &mut Options<'_>,
        context: &BuildContext<'_>,
        synchronised: bool,
    ) -> Result<Self, OptionError> {
        Ok(Self {
            probability: options.probability("channel_probability", 1.0)?,
            synchronised: options.switch("synchronised_channels", synchronised)?,
            channels: image_channels(options, context)?,
        })
    }

    /// Parameters for each of `channels` channels, `None` for a channel that stays as it is. All decisions are drawn
    /// before the first parameter.
    pub fn draw<T: Clone>(
        &self,
        channels: usize,
        rng: &mut SampleRng,
        mut parameters: impl FnMut(&mut SampleRng) -> T,
    ) -> Vec<Option<T>> {
        let may_change = |c: usize| self.channels.as_ref().is_none_or(|allowed| allowed.contains(&c));
        let chosen: Vec<bool> =
            (0..channels).map(|c| may_change(c) && decide(self.probability, rng)).collect();
        let mut shared = None;
        chosen
            .into_iter()
            .map(|chosen| match (chosen, self.synchronised) {
                (false, _) => None,
                (true, true) => Some(shared.get_or_insert_with(|| parameters(rng)).clone()),
                (true, false) => Some(parameters(rng)),
            })
            .collect()
    }
}

/// The option `channels`, channels of the image.
pub(super) fn image_channels(
    options: &mut Options<'_>,
    context: &BuildContext<'_>,
) -> Result<Option<Vec<usize>>, OptionError> {
    let channels = options.optional_counts("channels")?;
    let known = context.facts.use_mask_for_norm.len();
    match &channels {
        // Facts without masks say nothing about the number of channels.
        Some(given) if known > 0 && given.iter().any(|channel| *channel >= known) => {
            Err(options.invalid("channels", format!("channels of the image, from 0 to {}", known - 1)))
        }
        _ => Ok(channels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::derive_stream;
    use nnunet_base::parts::Choice;
    use serde_json::json;

    fn read(value: Value) -> Result<Distribution, String> {
        let choice = Choice::new("x").with("v", value);
        let mut options = choice.reader("transform x");
        Distribution::read_within(&mut options, "v", Distribution::Fixed(0.0), [0.0, 10.0])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_ranges_and_mixtures_are_read() {
        assert_eq!(read(json!(3)), Ok(Distribution::Fixed(3.0)));
        assert_eq!(read(json!([1, 2.5])), Ok(Distribution::uniform(1.0, 2.5)));
        assert_eq!(read(json!([[0.5, 1], [1, 2]])), Ok(Distribution::around(0.5, 1.0, 2.0)));
        for wrong in [json!("much"), json!([2, 1]), json!([1, 2, 3]), json!([]), json!([[1, 2], 3])] {
            let error = read(wrong.clone()).unwrap_err();
            assert!(error.contains(&format!("v is {wrong}, expected a number, [low, high]")), "{error}");
        }
        assert!(read(json!([1, 11])).unwrap_err().ends_with("within 0 to 10"));
    }

    #[test]
    fn ranges_of_a_mixture_are_equally_likely() {
        let mut rng = derive_stream(1, &[]);
        let factors = Distribution::around(0.75, 1.0, 1.25);
        let values: Vec<f64> = (0..4000).map(|_| factors.sample(&mut rng)).collect();
        assert!(values.iter().all(|v| (0.75..1.25).contains(v)));
        let below = values.iter().filter(|v| **v < 1.0).count();
        assert!((1850..2150).contains(&below), "{below} of 4000");
        let above = Distribution::uniform(1.2, 1.5);
        assert!((0..100).all(|_| (1.2..1.5).contains(&above.sample(&mut rng))));
    }

    #[test]
    fn counts_include_both_ends() {
        let mut rng = derive_stream(2, &[]);
        let mut seen: Vec<usize> = (0..200).map(|_| CountRange::new(2, 5).sample(&mut rng)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [2, 3, 4, 5]);
        assert_eq!(CountRange::from_value(&json!(4)), Some(CountRange::new(4, 4)));
        assert_eq!(CountRange::from_value(&json!([4, 2])), None);
    }

    #[test]
    fn channels_share_parameters_where_synchronised() {
        let mut rng = derive_stream(3, &[]);
        let mut choice = ChannelChoice { probability: 1.0, synchronised: true, channels: Some(vec![0, 2]) };
        let range = Distribution::uniform(0.0, 1.0);
        let drawn = choice.draw(3, &mut rng, |rng| range.sample(rng));
        assert!(drawn[0].is_some() && drawn[0] == drawn[2] && drawn[1].is_none());
        choice.synchronised = false;
        let drawn = choice.draw(3, &mut rng, |rng| range.sample(rng));
        assert_ne!(drawn[0], drawn[2]);
    }
}
