//! Small synthetic images and datasets in nnU-Net's layout, written without the code under test.
//!
//! Everything is a function of its arguments: the same call writes the same bytes.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Voxels of a NIfTI file, x fastest.
#[derive(Debug, Clone)]
pub enum Voxels {
    /// NIfTI datatype 2.
    U8(Vec<u8>),
    /// NIfTI datatype 4.
    I16(Vec<i16>),
    /// NIfTI datatype 16.
    F32(Vec<f32>),
}

/// A NIfTI-1 file to be written, faithful or deliberately odd.
#[derive(Debug, Clone)]
pub struct NiftiFile {
    /// Number of voxels per axis, x first; as many as the header is to claim.
    pub dims: Vec<usize>,
    /// Voxel size in mm per axis, x first.
    pub spacing: Vec<f32>,
    /// Rows of the sform: index (x, y, z, 1) to RAS mm.
    pub sform: [[f32; 4]; 3],
    /// The voxels.
    pub voxels: Voxels,
}

impl NiftiFile {
    /// A file of `shape` (z, y, x) and `spacing` (z, y, x) in mm with axes along R, A, S.
    pub fn new(shape: [usize; 3], spacing: [f32; 3], voxels: Voxels) -> Self {
        let [z, y, x] = shape;
        let [sz, sy, sx] = spacing;
        Self {
            dims: vec![x, y, z],
            spacing: vec![sx, sy, sz],
            sform: [[sx, 0., 0., 0.], [0., sy, 0., 0.], [0., 0., sz, 0.]],
            voxels,
        }
    }

    /// The file's bytes, uncompressed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut h = vec![0u8; 352];
        let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &348i32.to_le_bytes());
        put(40, &(self.dims.len() as i16).to_le_bytes());
        for i in 0..7 {
            put(42 + 2 * i, &(self.dims.get(i).copied().unwrap_or(1) as i16).to_le_bytes());
        }
        let (datatype, bits) = match self.voxels {
            Voxels::U8(_) => (2i16, 8i16),
            Voxels::I16(_) => (4, 16),
            Voxels::F32(_) => (16, 32),
        };
        put(70, &datatype.to_le_bytes());
        put(72, &bits.to_le_bytes());
        put(76, &1f32.to_le_bytes());
        for (i, s) in self.spacing.iter().enumerate() {
            put(80 + 4 * i, &s.to_le_bytes());
        }
        put(108, &352f32.to_le_bytes());
        put(112, &1f32.to_le_bytes());
        put(123, &[2]); // millimetres
        put(254, &1i16.to_le_bytes());
        for (r, row) in self.sform.iter().enumerate() {
            for (c, v) in row.iter().enumerate() {
                put(280 + 16 * r + 4 * c, &v.to_le_bytes());
            }
        }
        put(344, b"n+1\0");
        match &self.voxels {
            Voxels::U8(v) => h.extend(v),
            Voxels::I16(v) => h.extend(v.iter().flat_map(|v| v.to_le_bytes())),
            Voxels::F32(v) => h.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        }
        h
    }

    /// Writes the file, compressed if the name ends in `.gz`. Makes missing folders.
    pub fn write(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = self.bytes();
        let bytes = if path.extension().is_some_and(|e| e == "gz") { gzip(&bytes) } else { bytes };
        std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// `bytes` as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Which labels a phantom dataset declares. The voxels hold 0, 1 and 2, with ignore also 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhantomLabels {
    /// background 0, shell 1, core 2.
    Plain,
    /// background 0, whole (1, 2), core 2.
    Regions,
    /// As plain, and ignore 3 on the last slices.
    Ignore,
    /// As plain, but the voxels hold 0 only.
    Empty,
}

/// A dataset of noisy balls: a shell (label 1) around a core (label 2), brighter inwards, on a darker
/// ground, with a margin of exact zeros around everything.
#[derive(Debug, Clone)]
pub struct PhantomDataset {
    /// Number of training cases, named `ball_000`, ...
    pub cases: usize,
    /// Shape (z, y, x) of the first case; the following ones vary by a few voxels.
    pub shape: [usize; 3],
    /// Spacing (z, y, x) in mm.
    pub spacing: [f32; 3],
    /// Number of channels; each is the same scene at another contrast.
    pub channels: usize,
    /// Voxels of exact zeros on each side of every axis longer than four times that.
    pub margin: usize,
    /// The labels to declare.
    pub labels: PhantomLabels,
}

impl Default for PhantomDataset {
    fn default() -> Self {
        Self {
            cases: 5,
            shape: [20, 24, 22],
            spacing: [1.0, 1.0, 1.0],
            channels: 1,
            margin: 2,
            labels: PhantomLabels::Plain,
        }
    }
}

impl PhantomDataset {
    /// Writes `raw/name` with dataset.json, imagesTr and labelsTr; returns that folder.
    pub fn write(&self, raw: &Path, name: &str) -> PathBuf {
        let folder = raw.join(name);
        for case in 0..self.cases {
            let identifier = format!("ball_{case:03}");
            self.write_case(&folder.join("imagesTr"), &folder.join("labelsTr"), &identifier, case as u32);
        }
        std::fs::write(folder.join("dataset.json"), self.dataset_json()).unwrap();
        folder
    }

    /// The text of dataset.json.
    pub fn dataset_json(&self) -> String {
        let channels: Vec<String> = (0..self.channels).map(|c| format!("\"{c}\": \"MR{c}\"")).collect();
        let labels = match self.labels {
            PhantomLabels::Plain | PhantomLabels::Empty => r#"{"background": 0, "shell": 1, "core": 2}"#,
            PhantomLabels::Regions => r#"{"background": 0, "whole": [1, 2], "core": 2}"#,
            PhantomLabels::Ignore => r#"{"background": 0, "shell": 1, "core": 2, "ignore": 3}"#,
        };
        let order =
            if self.labels == PhantomLabels::Regions { ", \"regions_class_order\": [1, 2]" } else { "" };
        format!(
            "{{\"channel_names\": {{{}}}, \"labels\": {labels}, \"numTraining\": {}, \"file_ending\": \
             \".nii.gz\"{order}}}",
            channels.join(", "),
            self.cases
        )
    }

    /// Writes the images and the label of one case; `seed` decides shape, place and noise.
    pub fn write_case(&self, images: &Path, labels: &Path, identifier: &str, seed: u32) {
        let mut random = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        let mut uniform = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / (1u64 << 24) as f32
        };
        let shape = self.shape.map(|n| if n > 4 { n + (uniform() * 4.0) as usize } else { n });
        let centre = shape.map(|n| n as f32 * (0.45 + 0.1 * uniform()));
        let radius = shape.iter().filter(|&&n| n > 4).min().map_or(1.0, |&n| n as f32 * 0.32);
        let margin = shape.map(|n| if n > 4 * self.margin { self.margin } else { 0 });
        let mut label = Vec::new();
        let mut inside = Vec::new();
        for z in 0..shape[0] {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let at = [z, y, x];
                    let flat = |i: usize| shape[i] <= 4;
                    let distance = (0..3)
                        .filter(|&i| !flat(i))
                        .map(|i| (at[i] as f32 - centre[i]).powi(2))
                        .sum::<f32>()
                        .sqrt();
                    let ignored = self.labels == PhantomLabels::Ignore && z + 3 > shape[0];
                    label.push(match distance {
                        _ if ignored => 3,
                        _ if self.labels == PhantomLabels::Empty => 0,
                        d if d < 0.5 * radius => 2,
                        d if d < radius => 1,
                        _ => 0,
                    });
                    inside.push((0..3).all(|i| at[i] >= margin[i] && at[i] + margin[i] < shape[i]));
                }
            }
        }
        for channel in 0..self.channels {
            let contrast = 40.0 + 25.0 * channel as f32;
            let voxels = label
                .iter()
                .zip(&inside)
                .map(|(&label, &inside)| {
                    let noise = uniform() * 30.0;
                    if inside { (50.0 + contrast * f32::from(label % 3) + noise).round() as i16 } else { 0 }
                })
                .collect();
            NiftiFile::new(shape, self.spacing, Voxels::I16(voxels))
                .write(images.join(format!("{identifier}_{channel:04}.nii.gz")));
        }
        NiftiFile::new(shape, self.spacing, Voxels::U8(label))
            .write(labels.join(format!("{identifier}.nii.gz")));
    }
}
