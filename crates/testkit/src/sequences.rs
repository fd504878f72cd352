//! A dataset of four MR sequences in which each class shows in some of them only.
//!
//! | class | T1 | T1ce | T2 | FLAIR |
//! |---|---|---|---|---|
//! | edema (1) | | | bright | brighter |
//! | core (2) | | bright | | |
//!
//! Two balls of random place and size on a noisy ground, one for each class. So the core cannot be found without T1ce, while
//! the edema can be found by T2 or by FLAIR alone.

use std::path::{Path, PathBuf};

use crate::phantom::{NiftiFile, Voxels};

/// Names of the channels.
pub const SEQUENCES: [&str; 4] = ["T1", "T1ce", "T2", "FLAIR"];

/// How much brighter than the ground the edema and the core are in each channel.
const CONTRAST: [[f32; 2]; 4] = [[0.0, 0.0], [0.0, 60.0], [28.0, 0.0], [70.0, 0.0]];

/// The dataset.
#[derive(Debug, Clone)]
pub struct SequencesDataset {
    /// Number of cases, named `head_000`, ...
    pub cases: usize,
    /// Number of the first one; other numbers are other heads.
    pub first: usize,
    /// Shape (z, y, x).
    pub shape: [usize; 3],
    /// The channels that cases may lack.
    pub optional: Vec<&'static str>,
}

impl Default for SequencesDataset {
    fn default() -> Self {
        Self { cases: 10, first: 0, shape: [20, 32, 32], optional: Vec::new() }
    }
}

impl SequencesDataset {
    /// Writes `raw/name` with dataset.json, imagesTr and labelsTr; returns that folder.
    pub fn write(&self, raw: &Path, name: &str) -> PathBuf {
        let folder = raw.join(name);
        self.write_cases(&folder.join("imagesTr"), &folder.join("labelsTr"));
        std::fs::write(folder.join("dataset.json"), self.dataset_json()).unwrap();
        folder
    }

    /// Writes the cases alone.
    pub fn write_cases(&self, images: &Path, labels: &Path) {
        for case in self.first..self.first + self.cases {
            self.write_case(images, labels, case);
        }
    }

    /// The text of dataset.json.
    pub fn dataset_json(&self) -> String {
        let channels: Vec<String> =
            SEQUENCES.iter().enumerate().map(|(i, name)| format!("\"{i}\": \"{name}\"")).collect();
        format!(
            "{{\"channel_names\": {{{}}}, \"labels\": {{\"background\": 0, \"edema\": 1, \"core\": 2}}, \
             \"optional_channels\": {:?}, \"numTraining\": {}, \"file_ending\": \".nii.gz\"}}",
            channels.join(", "),
            self.optional,
            self.cases
        )
    }

    fn write_case(&self, images: &Path, labels: &Path, case: usize) {
        let mut random = (case as u64 + 77).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / (1u64 << 24) as f32
        };
        // The balls lie in different halves along x, on a side of their own in each case.
        let swapped = uniform() < 0.5;
        let balls = [(5.0, 0.3), (4.0, 0.7)].map(|(radius, along)| {
            let along = if swapped { 1.0 - along } else { along };
            let centre: [f32; 3] = std::array::from_fn(|axis| {
                let middle = if axis == 2 { along } else { 0.5 };
                self.shape[axis] as f32 * (middle + 0.1 * (uniform() - 0.5))
            });
            (centre, radius + uniform())
        });
        let [depth, height, width] = self.shape;
        let mut label = Vec::with_capacity(depth * height * width);
        for z in 0..depth {
            for y in 0..height {
                for x in 0..width {
                    let at = [z, y, x];
                    let is_in = |(centre, radius): &([f32; 3], f32)| {
                        let square = |axis: usize| (at[axis] as f32 - centre[axis]).powi(2);
                        (0..3).map(square).sum::<f32>() < radius * radius
                    };
                    label.push(balls.iter().position(is_in).map_or(0, |ball| ball as u8 + 1));
                }
            }
        }
        for (channel, contrast) in CONTRAST.iter().enumerate() {
            let voxels = label.iter().map(|&label| {
                // Three uniform numbers are normal enough.
                let noise = 14.0 * (uniform() + uniform() + uniform() - 1.5) * 2.0;
                let bright = if label == 0 { 0.0 } else { contrast[usize::from(label) - 1] };
                (100.0 + bright + noise).round() as i16
            });
            NiftiFile::new(self.shape, [1.0; 3], Voxels::I16(voxels.collect()))
                .write(images.join(format!("head_{case:03}_{channel:04}.nii.gz")));
        }
        NiftiFile::new(self.shape, [1.0; 3], Voxels::U8(label))
            .write(labels.join(format!("head_{case:03}.nii.gz")));
    }
}
