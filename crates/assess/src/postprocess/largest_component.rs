//! Keeping only the largest component of some classes.

use nnunet_volume::Volume;
use nnunet_volume::morphology::{Connectivity, connected_components};
use rayon::prelude::*;

use nnunet_dataset::LabelOrRegion;

/// What is looked at as one mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// One label or region.
    One(LabelOrRegion),
    /// Several of them together.
    Together(Vec<LabelOrRegion>),
}

impl Classes {
    /// The values of the voxels that belong to it.
    fn values(&self) -> Vec<f32> {
        let classes = match self {
            Self::One(class) => std::slice::from_ref(class),
            Self::Together(classes) => classes,
        };
        classes.iter().flat_map(LabelOrRegion::values).map(|&value| value as f32).collect()
    }
}

impl std::fmt::Display for Classes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(LabelOrRegion::Label(label)) => write!(f, "label {label}"),
            Self::One(region) => write!(f, "region {}", region.key()),
            Self::Together(classes) => {
                let keys: Vec<_> = classes.iter().map(LabelOrRegion::key).collect();
                write!(f, "classes {} together", keys.join(", "))
            }
        }
    }
}

/// One step: all components of the classes but the largest become background. Components touch by faces,
/// edges or corners; where several are largest, all of them stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepLargest {
    /// What the components are made of.
    pub classes: Classes,
    /// The value that removed voxels get.
    pub background: i32,
}

impl KeepLargest {
    /// The step for `classes`, with background 0.
    pub fn new(classes: Classes) -> Self {
        Self { classes, background: 0 }
    }

    /// Changes `segmentation` (z, y, x) and says how many voxels were removed.
    pub fn apply(&self, segmentation: &mut Volume<f32>) -> usize {
        let values = self.classes.values();
        let mask = segmentation.data().par_iter().map(|v| values.contains(v)).collect();
        let Some(mask) = Volume::new(segmentation.shape(), mask) else { return 0 };
        let components = connected_components(&mask, Connectivity::Corner);
        let largest = components.list().iter().map(|component| component.voxels).max().unwrap_or(0);
        let mut removed = 0;
        components.for_each_run(|number, voxels| {
            if components.list()[number].voxels < largest {
                removed += voxels.len();
                segmentation.data_mut()[voxels].fill(self.background as f32);
            }
        });
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postprocess::Postprocessing;

    fn line(values: &[u8]) -> Volume<f32> {
        Volume::new([1, 1, values.len()], values.iter().map(|&v| f32::from(v)).collect()).unwrap()
    }

    fn one(label: i32) -> Classes {
        Classes::One(LabelOrRegion::Label(label))
    }

    #[test]
    fn all_that_are_largest_stay() {
        let mut segmentation = line(&[1, 1, 0, 1, 2, 1, 1, 0, 2]);
        assert_eq!(KeepLargest::new(one(1)).apply(&mut segmentation), 1);
        assert_eq!(segmentation, line(&[1, 1, 0, 0, 2, 1, 1, 0, 2]));
        let together = Classes::Together(vec![LabelOrRegion::Label(1), LabelOrRegion::Label(2)]);
        assert_eq!(KeepLargest::new(together).apply(&mut segmentation), 3);
        assert_eq!(segmentation, line(&[0, 0, 0, 0, 2, 1, 1, 0, 0]));
        assert_eq!(KeepLargest::new(one(3)).apply(&mut segmentation), 0, "a class that is not there");
    }

    #[test]
    fn corners_touch_and_steps_follow_each_other() {
        let mut cube = Volume::filled([2, 2, 4], 0.0f32);
        for index in [cube.index(0, 0, 0), cube.index(1, 1, 1)] {
            cube.data_mut()[index] = 1.0;
        }
        let lonely = cube.index(0, 0, 3);
        cube.data_mut()[lonely] = 1.0;
        let region = KeepLargest { classes: Classes::One(LabelOrRegion::Region(vec![1, 2])), background: 3 };
        let steps = vec![region.into(), KeepLargest::new(one(3)).into()];
        assert_eq!(Postprocessing { steps }.apply(&mut cube), 1);
        assert_eq!(cube.data()[lonely], 3.0);
        assert_eq!(cube.data().iter().filter(|v| **v == 1.0).count(), 2);
    }
}
