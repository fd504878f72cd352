//! Sets of channels that are there while the others are missing.

use std::path::PathBuf;

use nnunet_dataset::DatasetJson;

/// Most channels whose sets are gone through: 255 predictions of every case.
const MOST_CHANNELS: usize = 8;

/// What folders of patterns are called, before the numbers of the channels that are there.
const PREFIX: &str = "channels";

/// The channels that are there, ascending; all others are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPattern {
    /// Number of channels of the dataset.
    channels: usize,
    present: Vec<usize>,
}

/// Why there are no patterns to go through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A dataset of one channel, or of very many.
    #[error(
        "the dataset has {channels} channels; expected 2 to {MOST_CHANNELS} to go through all patterns of missing ones"
    )]
    Channels {
        /// Number of channels.
        channels: usize,
    },
    /// Patterns that were not predicted.
    #[error(
        "{folder}: {missing} of {total} patterns of channels have no folder, e.g. {example}; expected predictions of all",
        folder = folder.display()
    )]
    NotPredicted {
        /// Folder of the predictions.
        folder: PathBuf,
        /// How many.
        missing: usize,
        /// Number of patterns.
        total: usize,
        /// Name of the first one's folder.
        example: String,
        /// What to do.
        #[source]
        hint: nnunet_base::Hint,
    },
}

impl ChannelPattern {
    /// Every set of 1 to all of `channels` channels: first all, then by the number that is missing, each in the order of the
    /// channels that are there.
    ///
    /// # Errors
    /// A single channel, or so many that nobody would wait for the result.
    pub fn all(channels: usize) -> Result<Vec<Self>, PatternError> {
        if !(2..=MOST_CHANNELS).contains(&channels) {
            return Err(PatternError::Channels { channels });
        }
        let present = |bits: usize| (0..channels).filter(|c| bits >> c & 1 == 1).collect::<Vec<_>>();
        let mut patterns: Vec<Self> =
            (1..1usize << channels).map(|bits| Self { channels, present: present(bits) }).collect();
        patterns.sort_by_key(|pattern| (channels - pattern.present.len(), pattern.present.clone()));
        Ok(patterns)
    }

    /// The channels that are there.
    pub fn present(&self) -> &[usize] {
        &self.present
    }

    /// The channels that are missing.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.channels).filter(|channel| !self.present.contains(channel)).collect()
    }

    /// Name of the folder of its predictions: `channels_0_2`.
    pub fn folder(&self) -> String {
        let numbers: Vec<String> = self.present.iter().map(usize::to_string).collect();
        format!("{PREFIX}_{}", numbers.join("_"))
    }

    /// Names of the channels that are there.
    pub fn present_names(&self, dataset: &DatasetJson) -> Vec<String> {
        self.present.iter().map(|&channel| dataset.channel_name(channel)).collect()
    }

    /// Names of the channels that are missing.
    pub fn missing_names(&self, dataset: &DatasetJson) -> Vec<String> {
        self.missing().into_iter().map(|channel| dataset.channel_name(channel)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sets_but_the_empty_one_come_with_the_fullest_first() {
        let patterns = ChannelPattern::all(3).unwrap();
        let folders: Vec<String> = patterns.iter().map(ChannelPattern::folder).collect();
        let expected = ["0_1_2", "0_1", "0_2", "1_2", "0", "1", "2"].map(|name| format!("channels_{name}"));
        assert_eq!(folders, expected);
        assert_eq!(patterns[2].missing(), [1]);
        assert_eq!(ChannelPattern::all(4).unwrap().len(), 15);
        for channels in [0, 1, 9] {
            let error = ChannelPattern::all(channels).unwrap_err().to_string();
            assert!(error.contains(&format!("has {channels} channels; expected 2 to 8")), "{error}");
        }
    }
}
