//! Where the voxels of each class are: a sample of them, for oversampling foreground in training.
//!
//! Rule of the reference, exact: for each class in order, one generator seeded 1234 for all of them,
//! `max(min(10000, n), ceil(n / 100))` of its n voxels without replacement. Voxels are numbered
//! label by label (in the order the region lists its labels), within a label in C order.

use super::crop::OUTSIDE;
use nnunet_dataset::{LabelManager, LabelOrRegion};
use nnunet_pyformats::numpy_random::RandomState;
use nnunet_volume::Volume;

/// Seed of the draws of every case.
const SEED: u32 = 1234;
/// Voxels per class, if it has so many.
const SAMPLES: usize = 10_000;
/// Least part of a class's voxels.
const LEAST_PART: f64 = 0.01;

/// Sampled voxels (z, y, x) of each class, in the order of the classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassLocations(Vec<(LabelOrRegion, Vec<[u32; 3]>)>);

impl ClassLocations {
    /// Wraps locations that were sampled before.
    pub fn new(entries: Vec<(LabelOrRegion, Vec<[u32; 3]>)>) -> Self {
        Self(entries)
    }

    /// Classes and their voxels (z, y, x).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&LabelOrRegion, &[[u32; 3]])> {
        self.0.iter().map(|(class, voxels)| (class, voxels.as_slice()))
    }

    /// Voxels (z, y, x) of a class; `None` if the class was not sampled at all.
    pub fn get(&self, class: &LabelOrRegion) -> Option<&[[u32; 3]]> {
        self.0.iter().find(|(key, _)| key == class).map(|(_, voxels)| voxels.as_slice())
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is sampled for a dataset: its foreground regions or labels; with an ignore label also all
/// annotated voxels, as the class of -1 and every label.
pub fn sampled_classes(labels: &LabelManager) -> Vec<LabelOrRegion> {
    let mut classes = labels.foreground();
    if labels.ignore_label().is_some() {
        let annotated = std::iter::once(i32::from(OUTSIDE)).chain(labels.all_labels().iter().copied());
        classes.push(LabelOrRegion::Region(annotated.collect()));
    }
    classes
}

/// Samples the voxels of each of `classes` in a segmentation.
pub fn sample_locations(segmentation: &Volume<i16>, classes: &[LabelOrRegion]) -> ClassLocations {
    let counts = count_labels(segmentation.data());
    let count = |label: i32| i16::try_from(label).map_or(0, |label| counts[table_index(label)] as usize);

    let mut random = RandomState::new(SEED);
    // For each label: (number of the voxel within the label, class, place in the class).
    let mut wanted: Vec<Vec<(usize, u32, u32)>> = vec![Vec::new(); TABLE];
    let mut locations: Vec<(LabelOrRegion, Vec<[u32; 3]>)> = Vec::with_capacity(classes.len());
    for (class_number, class) in classes.iter().enumerate() {
        let total: usize = class.values().iter().map(|&label| count(label)).sum();
        let samples = SAMPLES.min(total).max((total as f64 * LEAST_PART).ceil() as usize);
        locations.push((class.clone(), vec![[0; 3]; samples]));
        if total == 0 {
            continue;
        }
        // Ends of the labels' ranges in the numbering of the class.
        let ends: Vec<(usize, i32)> = class
            .values()
            .iter()
            .scan(0, |end, &label| {
                *end += count(label);
                Some((*end, label))
            })
            .collect();
        for (place, pick) in random.choice_without_replacement(total, samples).into_iter().enumerate() {
            let range = ends.partition_point(|&(end, _)| end <= pick);
            let Some(&(_, label)) = ends.get(range) else { continue };
            let start = if range == 0 { 0 } else { ends[range - 1].0 };
            if let Ok(label) = i16::try_from(label) {
                wanted[table_index(label)].push((pick - start, class_number as u32, place as u32));
            }
        }
    }
    for picks in &mut wanted {
        picks.sort_unstable();
    }
    fill(segmentation, &wanted, &mut locations);
    ClassLocations(locations)
}

/// One entry for every value of an i16.
const TABLE: usize = 1 << 16;

fn table_index(label: i16) -> usize {
    (i32::from(label) - i32::from(i16::MIN)) as usize
}

fn count_labels(labels: &[i16]) -> Vec<u64> {
    let mut counts = vec![0; TABLE];
    // Labels come in runs: counting a run at once avoids one dependent store per voxel.
    for run in labels.chunk_by(|a, b| a == b) {
        counts[table_index(run[0])] += run.len() as u64;
    }
    counts
}

/// Walks through the voxels once and writes down those that were picked.
fn fill(
    segmentation: &Volume<i16>,
    wanted: &[Vec<(usize, u32, u32)>],
    locations: &mut [(LabelOrRegion, Vec<[u32; 3]>)],
) {
    let [_, height, width] = segmentation.shape();
    let mut seen = vec![0usize; TABLE];
    let mut next = vec![0usize; TABLE];
    let mut start = 0;
    for run in segmentation.data().chunk_by(|a, b| a == b) {
        let label = table_index(run[0]);
        let end_number = seen[label] + run.len();
        while let Some(&(number, class, place)) = wanted[label].get(next[label])
            && number < end_number
        {
            let voxel = start + number - seen[label];
            let (row, x) = (voxel / width, voxel % width);
            let (z, y) = (row / height, row % height);
            locations[class as usize].1[place as usize] = [z as u32, y as u32, x as u32];
            next[label] += 1;
        }
        seen[label] = end_number;
        start += run.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by definition: lists of coordinates, sorted by label.
    fn slow(segmentation: &Volume<i16>, classes: &[LabelOrRegion]) -> ClassLocations {
        let [_, height, width] = segmentation.shape();
        let voxels = |label: i32| {
            let data = segmentation.data().iter().enumerate();
            data.filter(move |(_, v)| i32::from(**v) == label)
                .map(move |(i, _)| [i / width / height, i / width % height, i % width].map(|v| v as u32))
        };
        let mut random = RandomState::new(SEED);
        let sample = |class: &LabelOrRegion| {
            let all: Vec<[u32; 3]> = class.values().iter().flat_map(|&label| voxels(label)).collect();
            let samples = all.len().min(10_000).max((all.len() as f64 * 0.01).ceil() as usize);
            let picks = if all.is_empty() {
                Vec::new()
            } else {
                random.choice_without_replacement(all.len(), samples)
            };
            (class.clone(), picks.into_iter().map(|i| all[i]).collect())
        };
        ClassLocations(classes.iter().map(sample).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            shape in prop::array::uniform3(1usize..9),
            labels in prop::collection::vec(-1i16..4, 512),
        ) {
            let voxels = shape.iter().product();
            let segmentation = Volume::new(shape, labels[..voxels].to_vec()).unwrap();
            let classes = [
                LabelOrRegion::Label(2),
                LabelOrRegion::Region(vec![3, 1]),
                LabelOrRegion::Label(7),
                LabelOrRegion::Region(vec![-1, 0, 1, 2]),
            ];
            let found = sample_locations(&segmentation, &classes);
            prop_assert_eq!(&found, &slow(&segmentation, &classes));
            prop_assert_eq!(found.get(&classes[2]), Some(&[][..]));
        }
    }

    #[test]
    fn large_classes_are_sampled_to_one_percent() {
        let segmentation = Volume::filled([20, 300, 200], 1i16);
        let found = sample_locations(&segmentation, &[LabelOrRegion::Label(1)]);
        let voxels = found.get(&LabelOrRegion::Label(1)).unwrap();
        assert_eq!(voxels.len(), 12_000);
        let distinct: std::collections::HashSet<_> = voxels.iter().collect();
        assert_eq!(distinct.len(), voxels.len());
    }
}
