//! Targets of a batch, one per output of the network.

/// Label maps of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelBatch {
    /// Shape (n, z, y, x).
    pub shape: [usize; 4],
    /// Labels in C order; `data.len()` is the product of `shape`.
    pub data: Vec<i16>,
}

/// Region masks of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionBatch {
    /// Shape (n, region, z, y, x); with an ignore label the last region is the ignored part.
    pub shape: [usize; 5],
    /// Membership in C order; `data.len()` is the product of `shape`.
    pub data: Vec<bool>,
}

/// The target of one output of the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Labels.
    Labels(LabelBatch),
    /// Regions.
    Regions(RegionBatch),
}

/// Targets of all outputs, full resolution first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// One per output.
    pub scales: Vec<Target>,
}

impl LabelBatch {
    /// Labels of sample `n`, (z, y, x) in C order.
    pub fn sample(&self, n: usize) -> &[i16] {
        let voxels: usize = self.shape[1..].iter().product();
        &self.data[n * voxels..(n + 1) * voxels]
    }
}

impl RegionBatch {
    /// Membership of region `c` of sample `n`, (z, y, x) in C order.
    pub fn channel(&self, n: usize, c: usize) -> &[bool] {
        let voxels: usize = self.shape[2..].iter().product();
        let start = (n * self.shape[1] + c) * voxels;
        &self.data[start..start + voxels]
    }
}

impl Target {
    /// What it holds, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Labels(_) => "labels",
            Self::Regions(_) => "regions",
        }
    }
}
