//! Connected components of a mask.

use super::runs::{self, Connectivity, Run, Runs};
use crate::Volume;

/// One component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Number of voxels.
    pub voxels: usize,
    /// Smallest (z, y, x) of its voxels.
    pub low: [usize; 3],
    /// One more than the largest (z, y, x) of its voxels.
    pub high: [usize; 3],
}

/// The connected components of a mask, numbered from 0 in the order of their first voxel (z, y, x).
pub struct Components {
    shape: [usize; 3],
    runs: Runs,
    components: Vec<Component>,
}

/// Finds the connected components of the set voxels of `mask`.
pub fn connected_components(mask: &Volume<bool>, connectivity: Connectivity) -> Components {
    let shape = mask.shape();
    let runs = runs::find(mask.data(), shape, connectivity, |v| v);
    let empty = Component { voxels: 0, low: [usize::MAX; 3], high: [0; 3] };
    let mut components = vec![empty; runs.count];
    for (line, range) in runs.lines.windows(2).enumerate() {
        let (z, y) = (line / shape[1].max(1), line % shape[1].max(1));
        for i in range[0]..range[1] {
            let Run { start, end } = runs.runs[i];
            let component = &mut components[runs.groups[i]];
            component.voxels += end - start;
            for (axis, (low, high)) in [(z, z + 1), (y, y + 1), (start, end)].into_iter().enumerate() {
                component.low[axis] = component.low[axis].min(low);
                component.high[axis] = component.high[axis].max(high);
            }
        }
    }
    Components { shape, runs, components }
}

impl Components {
    /// The components with their sizes and boxes.
    pub fn list(&self) -> &[Component] {
        &self.components
    }

    /// Calls `visit` with the component's number and the range of linear indices (C order) of every run of voxels,
    /// in C order.
    pub fn for_each_run(&self, mut visit: impl FnMut(usize, std::ops::Range<usize>)) {
        for (line, range) in self.runs.lines.windows(2).enumerate() {
            for i in range[0]..range[1] {
                let Run { start, end } = self.runs.runs[i];
                let base = line * self.shape[2];
                visit(self.runs.groups[i], base + start..base + end);
            }
        }
    }

    /// Component numbers from 1, 0 elsewhere, (z, y, x).
    pub fn labels(&self) -> Volume<u32> {
        let mut labels = Volume::filled(self.shape, 0u32);
        self.for_each_run(|number, voxels| labels.data_mut()[voxels].fill(number as u32 + 1));
        labels
    }

    /// The voxels of the largest component; of all of them where several are largest.
    pub fn largest(&self) -> Volume<bool> {
        let top = self.components.iter().map(|c| c.voxels).max().unwrap_or(0);
        self.keep(|component| component.voxels == top)
    }

    /// The voxels of the components for which `wanted` holds.
    pub fn keep(&self, wanted: impl Fn(&Component) -> bool) -> Volume<bool> {
        let keep: Vec<bool> = self.components.iter().map(wanted).collect();
        let mut mask = Volume::filled(self.shape, false);
        self.for_each_run(|number, voxels| mask.data_mut()[voxels].fill(keep[number]));
        mask
    }
}
