//! Which channels a case has, where it need not have all of them.
//!
//! A channel may be missing if dataset.json names it among `optional_channels`, or if a caller leaves it out. Its place in
//! the image is kept: voxels of 0 stand there, and every step that looks at intensities passes it over.

use std::path::Path;

use super::DatasetError;
use super::cases::{Case, channel_of};
use super::json::DatasetJson;

/// Cases that an error names.
const SHOWN: usize = 5;

impl Case {
    /// The channels that have a file, ascending; one for each of [`Case::images`].
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.images.len() + self.absent.len()).filter(|channel| !self.absent.contains(channel))
    }

    /// The case without `channels`; `None` if nothing would be left of it.
    pub fn without(&self, channels: &[usize]) -> Option<Self> {
        let kept = self.present().zip(&self.images).filter(|(channel, _)| !channels.contains(channel));
        let images: Vec<_> = kept.map(|(_, path)| path.clone()).collect();
        if images.is_empty() {
            return None;
        }
        let mut absent = [&self.absent, channels].concat();
        absent.sort_unstable();
        absent.dedup();
        Some(Self { identifier: self.identifier.clone(), images, absent, label: self.label.clone() })
    }
}

/// The channels called `names`, ascending.
///
/// # Errors
/// A channel that the dataset does not have; all channels at once.
pub fn left_out(names: &[String], json: &DatasetJson) -> Result<Vec<usize>, DatasetError> {
    let mut channels = names.iter().map(|name| json.channel(name)).collect::<Result<Vec<_>, _>>()?;
    channels.sort_unstable();
    channels.dedup();
    if channels.len() >= json.num_channels() {
        return Err(DatasetError::NoChannelLeft { names: names.join(", ") });
    }
    Ok(channels)
}

/// Notes for each of `cases`, whose files are numbered, which channels it lacks, and leaves out `left_out`. Where nothing
/// may be missing, cases stay as they are: whether their files are enough shows when they are read.
///
/// # Errors
/// Cases without the file of a channel that they must have, or without any. `path` is where they come from.
pub(super) fn settle(
    cases: &mut [Case],
    path: &Path,
    json: &DatasetJson,
    left_out: &[usize],
) -> Result<(), DatasetError> {
    if json.optional_channels.is_empty() && left_out.is_empty() {
        return Ok(());
    }
    let mut incomplete = Vec::new();
    for case in cases {
        let number = |path: &Path| channel_of(path, &json.file_ending);
        case.images.retain(|path| number(path).is_none_or(|channel| !left_out.contains(&channel)));
        let present: Vec<usize> = case.images.iter().filter_map(|path| number(path)).collect();
        let lacking = (0..json.num_channels()).filter(|channel| !present.contains(channel));
        let (absent, required): (Vec<usize>, Vec<usize>) = lacking
            .partition(|channel| json.optional_channels.contains(channel) || left_out.contains(channel));
        case.absent = absent;
        if !required.is_empty() {
            let names: Vec<String> = required.into_iter().map(|channel| json.channel_name(channel)).collect();
            incomplete.push(format!("{} ({})", case.identifier, names.join(", ")));
        } else if case.images.is_empty() {
            incomplete.push(format!("{} (any channel at all)", case.identifier));
        }
    }
    if incomplete.is_empty() {
        return Ok(());
    }
    let count = incomplete.len();
    let more = if count > SHOWN { ", ..." } else { "" };
    incomplete.truncate(SHOWN);
    let mut optional = [&json.optional_channels, left_out].concat();
    optional.sort_unstable();
    optional.dedup();
    let names: Vec<String> = optional.into_iter().map(|channel| json.channel_name(channel)).collect();
    Err(DatasetError::RequiredChannels {
        path: path.to_owned(),
        count,
        cases: incomplete.join(", ") + more,
        optional: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_pyformats::json::Json;
    use std::path::PathBuf;

    fn json(optional: &str) -> DatasetJson {
        let text = format!(
            r#"{{"channel_names": {{"0": "T1", "1": "T1ce", "2": "T2"}}, "labels": {{"background": 0}},
                "file_ending": ".nii", "optional_channels": {optional}}}"#
        );
        DatasetJson::from_json(Json::parse(&text).unwrap(), Path::new("dataset.json")).unwrap()
    }

    fn case(channels: &[usize]) -> Case {
        Case {
            identifier: "a".to_owned(),
            images: channels.iter().map(|c| PathBuf::from(format!("a_{c:04}.nii"))).collect(),
            absent: Vec::new(),
            label: None,
        }
    }

    fn settled(case: Case, optional: &str, left_out: &[usize]) -> Result<Case, String> {
        let mut cases = [case];
        settle(&mut cases, Path::new("imagesTr"), &json(optional), left_out).map_err(|e| e.to_string())?;
        let [case] = cases;
        Ok(case)
    }

    #[test]
    fn optional_channels_may_be_missing_and_others_may_not() {
        let found = settled(case(&[0, 2]), r#"["T1ce"]"#, &[]).unwrap();
        assert_eq!((found.absent.as_slice(), found.present().collect::<Vec<_>>()), (&[1][..], vec![0, 2]));
        let error = settled(case(&[1, 2]), r#"["T1ce"]"#, &[]).unwrap_err();
        assert_eq!(
            error,
            "imagesTr: 1 cases lack a file that they must have: a (T1). Channels that may be missing: T1ce"
        );
        // Without optional channels a gap is as in the reference.
        assert_eq!(settled(case(&[0, 2]), "[]", &[]).unwrap(), case(&[0, 2]));
    }

    #[test]
    fn channels_are_left_out_whether_they_have_a_file_or_not() {
        for channels in [&[0, 1, 2][..], &[0, 2]] {
            let found = settled(case(channels), "[]", &[1]).unwrap();
            assert_eq!((found.images.len(), found.absent.as_slice()), (2, &[1][..]));
        }
        assert!(settled(case(&[1]), r#"["T1", "T2"]"#, &[1]).unwrap_err().contains("a (any channel at all)"));
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(left_out(&names(&["T2", "T1"]), &json("[]")).unwrap(), [0, 2]);
        assert!(left_out(&names(&["FLAIR"]), &json("[]")).unwrap_err().to_string().contains("T1, T1ce, T2"));
        let all = left_out(&names(&["T1", "T1ce", "T2"]), &json("[]")).unwrap_err().to_string();
        assert!(all.contains("all channels") && all.contains("T1, T1ce, T2"), "{all}");
    }

    #[test]
    fn a_case_without_channels_keeps_their_places() {
        let found = case(&[0, 1, 2]).without(&[0]).unwrap();
        assert_eq!((found.absent.as_slice(), found.present().collect::<Vec<_>>()), (&[0][..], vec![1, 2]));
        let found = found.without(&[2]).unwrap();
        assert_eq!(
            (found.absent.as_slice(), found.images.as_slice()),
            (&[0, 2][..], &["a_0001.nii".into()][..])
        );
        assert_eq!(found.without(&[1]), None);
    }
}
