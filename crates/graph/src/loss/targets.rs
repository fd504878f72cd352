//! Targets of a batch, one per output of the network, and what belongs to them.

use crate::tensor::Tensor;

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
    /// What of them counts; `None` where everything does.
    pub validity: Option<Validity>,
    /// What a teacher says to the same batch: logits (n, class, z, y, x) at full resolution, for losses of one's own.
    pub teacher: Option<Tensor>,
}

impl Targets {
    /// Targets that count everywhere.
    pub fn new(scales: Vec<Target>) -> Self {
        Self { scales, validity: None, teacher: None }
    }
}

/// Which classes or regions of which sample were annotated: in a mixture of datasets each may know a part of them. The
/// losses of [`PartlyLabelledSpec`](super::PartlyLabelledSpec) honour it; the other built-in ones leave out samples of which
/// nothing was annotated, and refuse those of which a part was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Shape (n, class).
    pub shape: [usize; 2],
    /// In C order; `data.len()` is the product of `shape`.
    pub data: Vec<bool>,
}

impl Validity {
    /// The classes or regions of sample `n`.
    pub fn sample(&self, n: usize) -> &[bool] {
        &self.data[n * self.shape[1]..(n + 1) * self.shape[1]]
    }
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
