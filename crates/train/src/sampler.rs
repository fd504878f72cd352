//! Where in a case a training patch is taken from, and which samples of a batch must show foreground.
//!
//! Axis order (z, y, x), voxels. Boxes may leave the case on either side; what lies outside is padded
//! by the reader. The rules are the reference's, odd ones included: a forced-foreground box is kept
//! from starting too early but not from ending too late.

use rand::{Rng, RngExt};

/// Foreground voxels of a case that patches may be centred on, as preprocessing sampled them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForegroundLocations {
    /// Voxels (z, y, x) of each class or region, in the order of the file. Classes may be empty.
    pub classes: Vec<Vec<[u32; 3]>>,
    /// Voxels (z, y, x) that carry any label but the ignore label; only where there is an ignore label.
    pub annotated: Option<Vec<[u32; 3]>>,
}

impl ForegroundLocations {
    /// Bytes that the voxels take.
    pub fn bytes(&self) -> usize {
        let voxels: usize = self.classes.iter().chain(&self.annotated).map(Vec::len).sum();
        voxels * size_of::<[u32; 3]>()
    }

    /// A voxel of a class chosen evenly among those that occur; where none does, an annotated one.
    fn foreground_voxel(&self, rng: &mut impl Rng) -> Option<[u32; 3]> {
        let present: Vec<&Vec<[u32; 3]>> = self.classes.iter().filter(|c| !c.is_empty()).collect();
        match present.len() {
            0 => self.annotated_voxel(rng),
            n => choose(present[rng.random_range(0..n)], rng),
        }
    }

    fn annotated_voxel(&self, rng: &mut impl Rng) -> Option<[u32; 3]> {
        self.annotated.as_deref().and_then(|voxels| choose(voxels, rng))
    }
}

fn choose(voxels: &[[u32; 3]], rng: &mut impl Rng) -> Option<[u32; 3]> {
    (!voxels.is_empty()).then(|| voxels[rng.random_range(0..voxels.len())])
}

/// What a patch has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchContent {
    /// Anything (with an ignore label: some annotated voxel).
    Anywhere,
    /// A foreground voxel in its middle.
    Foreground,
}

/// Places patches in cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchSampler {
    /// Size of the box that is read (the crop that the augmentation starts from).
    pub crop: [usize; 3],
    /// Size of the patch that the network sees.
    pub patch: [usize; 3],
    /// Whether the dataset has an ignore label.
    pub has_ignore: bool,
}

/// Smallest and largest first voxel of a box, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartRange {
    /// Smallest.
    pub low: isize,
    /// Largest.
    pub high: isize,
}

impl PatchSampler {
    /// Where along each axis a randomly placed box may start in a case of `shape`: so that the patch in
    /// the middle of the box reaches every border, and that a box larger than the case covers it.
    pub fn start_ranges(&self, shape: [usize; 3]) -> [StartRange; 3] {
        std::array::from_fn(|d| {
            let (crop, size) = (self.crop[d] as isize, shape[d] as isize);
            let margin = (crop - self.patch[d] as isize).max(crop - size);
            StartRange {
                low: (-margin).div_euclid(2),
                high: size + margin.div_euclid(2) + margin.rem_euclid(2) - crop,
            }
        })
    }

    /// First voxel of the box for one sample.
    pub fn draw_start(
        &self,
        shape: [usize; 3],
        content: PatchContent,
        locations: &ForegroundLocations,
        rng: &mut impl Rng,
    ) -> [isize; 3] {
        let ranges = self.start_ranges(shape);
        let voxel = match content {
            PatchContent::Foreground => locations.foreground_voxel(rng),
            PatchContent::Anywhere if self.has_ignore => locations.annotated_voxel(rng),
            PatchContent::Anywhere => None,
        };
        match voxel {
            Some(voxel) => self.centred_start(ranges, voxel),
            None => ranges.map(|range| {
                let (low, high) = (range.low as i64, range.high.max(range.low) as i64);
                rng.random_range(low..=high) as isize
            }),
        }
    }

    /// First voxel of the box around `voxel`, not before the range of random boxes.
    fn centred_start(&self, ranges: [StartRange; 3], voxel: [u32; 3]) -> [isize; 3] {
        std::array::from_fn(|d| ranges[d].low.max(voxel[d] as isize - (self.crop[d] / 2) as isize))
    }
}

/// What sample `index` of a batch of `batch_size` has to show when the last `fraction` of a batch is
/// forced to contain foreground; the border is rounded half to even.
pub fn content_of_sample(index: usize, batch_size: usize, fraction: f64) -> PatchContent {
    let free = (batch_size as f64 * (1.0 - fraction)).round_ties_even();
    if (index as f64) < free { PatchContent::Anywhere } else { PatchContent::Foreground }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnunet_augment::random::derive_stream;

    fn sampler() -> PatchSampler {
        PatchSampler { crop: [9, 8, 7], patch: [6, 5, 7], has_ignore: false }
    }

    #[test]
    fn boxes_and_forced_samples_are_those_of_the_reference() {
        // Written by tests/golden/sampler/make.py.
        let goldens: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/sampler/goldens.json")).unwrap();
        let numbers = |v: &serde_json::Value| -> [i64; 3] { std::array::from_fn(|d| v[d].as_i64().unwrap()) };
        for case in goldens["boxes"].as_array().unwrap() {
            let size = |key: &str| numbers(&case[key]).map(|v| v as usize);
            let sampler = PatchSampler { crop: size("crop"), patch: size("patch"), has_ignore: false };
            let ranges = sampler.start_ranges(size("shape"));
            for (d, range) in ranges.iter().enumerate() {
                let expected = &case["ranges"][d];
                let expected = (expected[0].as_i64().unwrap(), expected[1].as_i64().unwrap());
                assert_eq!((range.low as i64, range.high as i64), expected, "{case}");
            }
            let forced = sampler.centred_start(ranges, numbers(&case["voxel"]).map(|v| v as u32));
            assert_eq!(forced.map(|v| v as i64), numbers(&case["forced"]), "{case}");
        }
        for (i, expected) in goldens["forced"].as_array().unwrap().iter().enumerate() {
            let forced =
                (0..i + 1).filter(|j| content_of_sample(*j, i + 1, 0.33) == PatchContent::Foreground).count();
            assert_eq!(forced as u64, expected.as_u64().unwrap(), "batch size {}", i + 1);
        }
    }

    #[test]
    fn odd_margins_are_floored_towards_negative_infinity() {
        let ranges = sampler().start_ranges([20, 4, 7]);
        let pairs = ranges.map(|r| (r.low, r.high));
        // Margins 3, 4 (raised to cover the case) and 0.
        assert_eq!(pairs, [(-2, 13), (-2, -2), (0, 0)]);
    }

    #[test]
    fn random_boxes_use_the_whole_range() {
        let mut rng = derive_stream(2, &[]);
        let sampler = sampler();
        let starts: Vec<[isize; 3]> = (0..600)
            .map(|_| {
                sampler.draw_start(
                    [20, 4, 7],
                    PatchContent::Anywhere,
                    &ForegroundLocations::default(),
                    &mut rng,
                )
            })
            .collect();
        let first: std::collections::BTreeSet<isize> = starts.iter().map(|s| s[0]).collect();
        assert_eq!(first.into_iter().collect::<Vec<_>>(), (-2..=13).collect::<Vec<_>>());
        assert!(starts.iter().all(|s| s[1..] == [-2, 0]));
    }

    #[test]
    fn classes_are_chosen_evenly_and_empty_ones_never() {
        let locations = ForegroundLocations {
            classes: vec![vec![[10, 1, 1]], vec![], vec![[12, 2, 3]; 500]],
            annotated: Some(vec![[15, 1, 1]]),
        };
        let mut rng = derive_stream(3, &[]);
        let rare = (0..1000)
            .filter(|_| {
                let start =
                    sampler().draw_start([20, 40, 40], PatchContent::Foreground, &locations, &mut rng);
                assert!([6, 8].contains(&start[0]));
                start[0] == 6
            })
            .count();
        assert!((430..570).contains(&rare), "{rare} of 1000");
    }

    #[test]
    fn without_foreground_annotated_voxels_then_chance_decide() {
        let mut rng = derive_stream(4, &[]);
        let mut locations = ForegroundLocations { classes: vec![vec![]], annotated: Some(vec![[15, 9, 9]]) };
        let start = sampler().draw_start([30; 3], PatchContent::Foreground, &locations, &mut rng);
        assert_eq!(start, [11, 5, 6]);
        locations.annotated = Some(vec![]);
        let start = sampler().draw_start([30; 3], PatchContent::Foreground, &locations, &mut rng);
        assert!(start.iter().zip(sampler().start_ranges([30; 3])).all(|(s, r)| (r.low..=r.high).contains(s)));
        assert_eq!(ForegroundLocations { annotated: None, ..locations }.bytes(), 0);
    }
}
