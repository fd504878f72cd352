//! Channels that are taken away, so that a network learns to do without them: sparsified training.
//!
//! A dropped channel becomes 0 everywhere, the mean of a z-scored channel, which is what prediction puts in place of a
//! channel without a file. So that it stays 0, nothing may come after this transform that changes intensities. At least one
//! channel that the case has always stays. Random subsets of the inputs: Eijgelaar et al. 2020 (10.1148/ryai.2020190103),
//! Grøvik et al. 2021 (10.1038/s41746-021-00398-4).

use std::sync::Arc;

use nnunet_base::parts::{OptionError, Options};
use rand::RngExt;
use serde_json::Value;

use super::error::AugmentError;
use super::labels::check_image_channels;
use super::pipeline::Sample;
use super::random::{SampleRng, decide};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Sets channels of the image to 0.
#[derive(Debug, Clone, PartialEq)]
pub struct DropChannels {
    /// How the channels are chosen.
    pub mode: DropMode,
    /// Channels that always stay.
    pub never_drop: Vec<usize>,
    /// Channels of the image; `None` for as many as a sample has.
    pub channels: Option<usize>,
}

/// How the channels to drop are chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum DropMode {
    /// Every set of channels that leaves one is as likely as the others, the empty set included.
    AnySubset,
    /// Each channel by itself with this probability.
    Independent(f64),
    /// One of these sets, each as likely as the others.
    Patterns(Vec<Vec<usize>>),
}

/// What a channel is in an option.
const EXPECTED: &str = "a list of channels, by name or number";

impl DropChannels {
    /// Options: `mode` (`any_subset`, `independent` or `patterns`), `channel_probability` (0.5, for `independent`),
    /// `patterns` (lists of the channels to drop) and `never_drop`; channels by name or number.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let names = &context.facts.channel_names;
        // Facts without masks say nothing about the number of channels.
        let channels = Some(context.facts.use_mask_for_norm.len()).filter(|channels| *channels > 0);
        if channels == Some(1) {
            return Err(options.unsuitable("needs images of several channels, but these have one").into());
        }
        let known = |channel: usize| channels.is_none_or(|channels| channel < channels);
        let channel = |value: &Value| match value {
            Value::String(name) => names.iter().position(|known| known == name),
            number => number.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| known(*n)),
        };
        let list = |value: &Value| -> Option<Vec<usize>> {
            let mut channels: Vec<usize> = value.as_array()?.iter().map(channel).collect::<Option<_>>()?;
            channels.sort_unstable();
            channels.dedup();
            Some(channels)
        };
        let expected = |what: &str| match names.is_empty() {
            true => what.to_owned(),
            false => format!("{what}: {}", names.join(", ")),
        };
        let never_drop = options.read("never_drop", &expected(EXPECTED), list)?.unwrap_or_default();
        let mode = match options.word("mode", &["any_subset", "independent", "patterns"])? {
            "independent" => DropMode::Independent(options.probability("channel_probability", 0.5)?),
            "patterns" => {
                let lists = |value: &Value| value.as_array()?.iter().map(list).collect::<Option<Vec<_>>>();
                let expected = expected("a list of lists of channels, by name or number");
                let patterns = options.read("patterns", &expected, lists)?.unwrap_or_default();
                check_patterns(options, &patterns, &never_drop, channels)?;
                DropMode::Patterns(patterns)
            }
            _ => DropMode::AnySubset,
        };
        if channels.is_some_and(|channels| never_drop.len() >= channels) {
            return Err(options.invalid("never_drop", "at least one channel that may be dropped").into());
        }
        Ok(Some(Arc::new(Self { mode, never_drop, channels })))
    }

    /// The channels to drop of those that are `present`.
    fn choose(&self, present: &[usize], rng: &mut SampleRng) -> Vec<usize> {
        let free: Vec<usize> = present.iter().copied().filter(|c| !self.never_drop.contains(c)).collect();
        let leaves_one = |dropped: &[usize]| dropped.len() < present.len();
        match &self.mode {
            DropMode::AnySubset => loop {
                let dropped: Vec<usize> = free.iter().copied().filter(|_| rng.random::<bool>()).collect();
                if leaves_one(&dropped) || present.is_empty() {
                    return dropped;
                }
            },
            DropMode::Independent(probability) => {
                let mut dropped: Vec<usize> =
                    free.iter().copied().filter(|_| decide(*probability, rng)).collect();
                if !leaves_one(&dropped) && !dropped.is_empty() {
                    dropped.swap_remove(rng.random_range(0..dropped.len()));
                }
                dropped
            }
            DropMode::Patterns(patterns) => {
                let of = |pattern: &Vec<usize>| -> Vec<usize> {
                    pattern.iter().copied().filter(|channel| present.contains(channel)).collect()
                };
                let mut possible: Vec<Vec<usize>> = patterns.iter().map(of).collect();
                possible.retain(|dropped| leaves_one(dropped));
                match possible.len() {
                    0 => Vec::new(),
                    count => possible.swap_remove(rng.random_range(0..count)),
                }
            }
        }
    }
}

fn check_patterns(
    options: &Options<'_>,
    patterns: &[Vec<usize>],
    never_drop: &[usize],
    channels: Option<usize>,
) -> Result<(), OptionError> {
    let leaves_none = |pattern: &&Vec<usize>| channels.is_some_and(|channels| pattern.len() >= channels);
    if patterns.is_empty() {
        return Err(options.invalid("patterns", "at least one list of channels to drop"));
    }
    if let Some(pattern) = patterns.iter().find(leaves_none) {
        let expected = format!("patterns that leave a channel; {pattern:?} drops all");
        return Err(options.invalid("patterns", expected));
    }
    match patterns.iter().flatten().find(|channel| never_drop.contains(channel)) {
        Some(channel) => {
            let expected = format!("patterns without the channels of never_drop; channel {channel} is one");
            Err(options.invalid("patterns", expected))
        }
        None => Ok(()),
    }
}

impl Transform for DropChannels {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let channels = self.channels.unwrap_or(sample.image.channels());
        let present: Vec<usize> = (0..channels).filter(|c| !context.absent.contains(c)).collect();
        for channel in self.choose(&present, context.rng) {
            sample.image.channel_mut(channel).fill(0.0);
        }
    }

    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        let last = self.channels.map(|channels| channels - 1);
        let mut named: Vec<usize> = self.never_drop.iter().copied().chain(last).collect();
        if let DropMode::Patterns(patterns) = &self.mode {
            named.extend(patterns.iter().flatten());
        }
        check_image_channels(&named, sample)
    }

    fn comes_last(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::derive_stream;
    use crate::{AugmentationList, AugmentationPolicy, ConfigurationFacts, Scratch, lists, transforms};
    use nnunet_base::parts::Choice;
    use nnunet_volume::ChannelVolume;
    use serde_json::json;

    fn facts() -> ConfigurationFacts {
        ConfigurationFacts {
            patch_size: vec![2, 4, 4],
            use_mask_for_norm: vec![false; 3],
            channel_names: ["T1", "T1ce", "T2"].map(str::to_owned).into(),
            ..Default::default()
        }
    }

    fn policy(choice: Choice) -> Result<AugmentationPolicy, String> {
        let list = Choice::new("none").with("append", vec![choice.to_value()]);
        let list = AugmentationList::choose(&list, &lists()).map_err(|error| error.to_string())?;
        AugmentationPolicy::new(&list, &facts(), &transforms()).map_err(|error| error.to_string())
    }

    /// How often each set of channels is left in 4000 samples that lack `absent`.
    fn left(choice: Choice, absent: &[usize]) -> BTreeMap<Vec<usize>, usize> {
        let policy = policy(choice).unwrap();
        let mut counts = BTreeMap::new();
        for stream in 0..4000 {
            let mut sample = Sample {
                image: ChannelVolume::filled(3, [2, 4, 4], 1.0),
                segmentation: ChannelVolume::filled(1, [2, 4, 4], 0),
            };
            absent.iter().for_each(|&channel| sample.image.channel_mut(channel).fill(0.0));
            let mut rng = derive_stream(stream, &[]);
            let made = policy.apply_without(sample, absent, &mut rng, &mut Scratch::default()).unwrap();
            let left = (0..3).filter(|&c| {
                let channel = made.image.channel(c);
                assert!(channel.iter().all(|v| *v == channel[0]), "a channel is dropped as a whole");
                channel[0] != 0.0
            });
            *counts.entry(left.collect()).or_default() += 1;
        }
        counts
    }

    fn is_near(count: usize, share: f64) -> bool {
        (count as f64 / 4000.0 - share).abs() < 0.03
    }

    #[test]
    fn every_subset_but_the_empty_one_is_left_equally_often() {
        let counts = left(Choice::new("drop_channels"), &[]);
        assert_eq!(counts.len(), 7, "{counts:?}");
        assert!(counts.values().all(|&count| is_near(count, 1.0 / 7.0)), "{counts:?}");
        let counts = left(Choice::new("drop_channels").with("never_drop", vec!["T1ce"]), &[]);
        assert_eq!(counts.len(), 4);
        assert!(counts.iter().all(|(left, &count)| left.contains(&1) && is_near(count, 0.25)), "{counts:?}");
        let counts = left(Choice::new("drop_channels").with("probability", 0.5), &[]);
        assert!(is_near(counts[&vec![0, 1, 2]], 0.5 + 0.5 / 7.0), "{counts:?}");
    }

    #[test]
    fn cases_without_a_channel_keep_one_of_the_others() {
        let counts = left(Choice::new("drop_channels"), &[1]);
        assert_eq!(counts.keys().collect::<Vec<_>>(), [&vec![0], &vec![0, 2], &vec![2]]);
        let all = Choice::new("drop_channels").with("mode", "independent").with("channel_probability", 1.0);
        assert_eq!(left(all.clone(), &[]).into_keys().collect::<Vec<_>>(), [[0], [1], [2]]);
        assert_eq!(left(all, &[0, 1]).into_keys().collect::<Vec<_>>(), [[2]]);
    }

    #[test]
    fn channels_are_dropped_independently_or_by_patterns() {
        let choice =
            Choice::new("drop_channels").with("mode", "independent").with("channel_probability", 0.2);
        let counts = left(choice, &[]);
        assert!(is_near(counts[&vec![0, 1, 2]], 0.512) && is_near(counts[&vec![1, 2]], 0.128), "{counts:?}");
        let patterns = json!([["T1", 1], ["T2"], []]);
        let choice = Choice::new("drop_channels").with("mode", "patterns").with("patterns", patterns);
        let counts = left(choice.clone(), &[]);
        assert_eq!(counts.keys().collect::<Vec<_>>(), [&vec![0, 1], &vec![0, 1, 2], &vec![2]]);
        assert!(counts.values().all(|&count| is_near(count, 1.0 / 3.0)), "{counts:?}");
        // The pattern that would leave nothing is not taken.
        assert_eq!(left(choice, &[2]).into_keys().collect::<Vec<_>>(), [[0, 1]]);
    }

    #[test]
    fn what_cannot_be_dropped_is_named() {
        let patterns = |patterns: Value| {
            Choice::new("drop_channels").with("mode", "patterns").with("patterns", patterns)
        };
        for (choice, words) in [
            (patterns(json!([["T1", "T1ce", "T2"]])), "patterns that leave a channel; [0, 1, 2] drops all"),
            (patterns(json!([["FLAIR"]])), "by name or number: T1, T1ce, T2"),
            (patterns(json!([[3]])), "by name or number: T1, T1ce, T2"),
            (patterns(json!([])), "at least one list of channels to drop"),
            (
                patterns(json!([["T1"]])).with("never_drop", vec![0]),
                "patterns without the channels of never_drop; channel 0 is one",
            ),
            (Choice::new("drop_channels").with("never_drop", vec![0, 1, 2]), "that may be dropped"),
            (Choice::new("drop_channels").with("mode", "some"), "any_subset or independent or patterns"),
        ] {
            let error = policy(choice).unwrap_err();
            assert!(error.contains(words), "{words:?} in {error}");
        }
        let one = ConfigurationFacts { use_mask_for_norm: vec![true], ..facts() };
        let built = AugmentationPolicy::from_choices(&[Choice::new("drop_channels")], &one, &transforms());
        assert!(built.unwrap_err().to_string().contains("needs images of several channels"));
    }

    #[test]
    fn nothing_that_changes_intensities_comes_after_it() {
        let build = |kinds: &[&str]| {
            let choices: Vec<Choice> = kinds.iter().map(|&kind| Choice::new(kind)).collect();
            AugmentationPolicy::from_choices(&choices, &facts(), &transforms()).map(drop)
        };
        let error = build(&["drop_channels", "gaussian_noise"]).unwrap_err().to_string();
        assert!(error.contains("gaussian_noise comes after drop_channels"), "{error}");
        build(&["gaussian_noise", "drop_channels", "drop_channels"]).unwrap();
    }

    #[test]
    fn absent_channels_stay_zero_whatever_the_transforms_do() {
        let facts = ConfigurationFacts { patch_size: vec![4, 8, 8], ..facts() };
        let policy = AugmentationPolicy::new(lists().get("da5").unwrap(), &facts, &transforms()).unwrap();
        for stream in 0..40 {
            let shape = policy.geometry.initial_patch;
            let voxels = shape.iter().product::<usize>();
            let mut image: Vec<f32> = (0..3 * voxels).map(|i| ((i * 31 % 97) as f32).sin()).collect();
            image[voxels..2 * voxels].fill(0.0);
            let sample = Sample {
                image: ChannelVolume::new(3, shape, image).unwrap(),
                segmentation: ChannelVolume::filled(1, shape, 0),
            };
            let mut rng = derive_stream(stream, &[]);
            let made = policy.apply_without(sample, &[1], &mut rng, &mut Scratch::default()).unwrap();
            assert!(made.image.channel(1).iter().all(|v| *v == 0.0));
            assert!(made.image.channel(0).iter().any(|v| *v != 0.0));
        }
    }
}
