//! From the fingerprint of a dataset to its plans: every decision, none of the files.
//!
//! Arrays (z, y, x), spacings in mm. Source: the reference's planners, exact (numbers to rounding).

use crate::fingerprint::Fingerprint;
use nnunet_base::spelling::closest_first;

use super::document;
use super::error::PlanError;
use super::lowres::plan_lowres;
use super::normalization_choice::{normalization_scheme, uses_mask};
use super::patch_size::{Limits, PatchPlan, plan_patch};
use super::plans_json::Plans;
use super::preset::{DEFAULT, PlannerPreset};
use super::statistics::median;
use super::target_spacing::{
    SpacingRule, TargetSpacing, resampled_shape, target_spacing, transpose_orders, transposed,
};

/// Preprocessors that there are, by their names in the reference.
pub(crate) const PREPROCESSORS: [&str; 1] = ["DefaultPreprocessor"];

/// What the user may change about planning.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannerOptions {
    /// The planner.
    pub preset: &'static PlannerPreset,
    /// GPU memory in GB that a batch may need; the planner's own if absent.
    pub gpu_memory_target_gb: Option<f64>,
    /// Target spacing (z, y, x) in mm of full resolution, before the axes are transposed.
    pub overwrite_target_spacing: Option<[f64; 3]>,
    /// Name of the plans; the planner's own if absent.
    pub overwrite_plans_name: Option<String>,
    /// Preprocessor by its name in the reference.
    pub preprocessor_name: String,
    /// Keep the axes in the order of the images.
    pub suppress_transpose: bool,
}

impl Default for PlannerOptions {
    fn default() -> Self {
        Self {
            preset: &DEFAULT,
            gpu_memory_target_gb: None,
            overwrite_target_spacing: None,
            overwrite_plans_name: None,
            preprocessor_name: "DefaultPreprocessor".to_owned(),
            suppress_transpose: false,
        }
    }
}

impl PlannerOptions {
    /// Name that the plans will have.
    pub fn plans_name(&self) -> &str {
        self.overwrite_plans_name.as_deref().unwrap_or(self.preset.plans_name)
    }

    /// GPU memory in GB that a batch may need.
    pub fn memory_gb(&self) -> f64 {
        self.gpu_memory_target_gb.unwrap_or(self.preset.memory_target_gb)
    }

    /// Checks that plans can be made with these options, and used here.
    ///
    /// # Errors
    /// Numbers that make no sense, a name that no file can have, a preprocessor that is not known.
    pub fn check(&self) -> Result<(), PlanError> {
        let name = self.preprocessor_name.as_str();
        if !PREPROCESSORS.contains(&name) {
            let problem = format!("is {name:?}; known: {}", closest_first(name, PREPROCESSORS).join(", "));
            return Err(PlanError::Option { option: "preprocessor_name", problem });
        }
        self.check_values()
    }

    fn check_values(&self) -> Result<(), PlanError> {
        let memory = self.memory_gb();
        if !(memory.is_finite() && memory > 0.0) {
            let problem = format!("is {memory} GB; expected a positive number");
            return Err(PlanError::Option { option: "gpu_memory_target", problem });
        }
        if let Some(spacing) = self.overwrite_target_spacing.filter(|s| !all_positive(s)) {
            let problem = format!("is {spacing:?} mm; expected three positive numbers (z, y, x)");
            return Err(PlanError::Option { option: "overwrite_target_spacing", problem });
        }
        let name = self.plans_name();
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            let problem = format!("is {name:?}; expected a name that can be a file name");
            return Err(PlanError::Option { option: "overwrite_plans_name", problem });
        }
        Ok(())
    }
}

/// What planning needs to know of a dataset: parts of dataset.json, and the fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetFacts {
    /// Name of the dataset, e.g. `Dataset004_Hippocampus`.
    pub dataset_name: String,
    /// Names of the image channels, in the order of dataset.json.
    pub channel_names: Vec<String>,
    /// Entries of `labels` in dataset.json, background, regions and ignore included.
    pub label_entries: usize,
    /// Number of training cases that dataset.json states.
    pub training_cases: usize,
    /// Reader of the images by its name in the reference.
    pub image_reader_writer: String,
    /// What the cases look like.
    pub fingerprint: Fingerprint,
}

impl DatasetFacts {
    fn check(&self) -> Result<(), PlanError> {
        let problem = |problem: String| Err(PlanError::BadFingerprint { problem });
        let Fingerprint { spacings, shapes_after_crop, foreground_intensities, .. } = &self.fingerprint;
        if foreground_intensities.len() != self.channel_names.len() {
            return problem(format!(
                "has intensities of {} channels, dataset.json names {}; extract the fingerprint again",
                foreground_intensities.len(),
                self.channel_names.len()
            ));
        }
        if spacings.is_empty() || spacings.len() != shapes_after_crop.len() {
            return problem(format!(
                "has {} spacings and {} shapes; expected one of each per training case, at least one; \
                 extract the fingerprint again",
                spacings.len(),
                shapes_after_crop.len()
            ));
        }
        if let Some((case, spacing)) = spacings.iter().enumerate().find(|(_, s)| !all_positive(s)) {
            return problem(format!("case {case} has spacing {spacing:?} mm; expected positive numbers"));
        }
        if let Some((case, shape)) =
            shapes_after_crop.iter().enumerate().find(|(_, shape)| shape.contains(&0))
        {
            return problem(format!("case {case} has shape {shape:?}; expected at least one voxel per axis"));
        }
        Ok(())
    }
}

fn all_positive(spacing: &[f64; 3]) -> bool {
    spacing.iter().all(|v| v.is_finite() && *v > 0.0)
}

/// Everything that was decided for a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Target spacing of full resolution before the axes are transposed.
    pub target_spacing: TargetSpacing,
    /// Axis order of the network.
    pub transpose_forward: [usize; 3],
    /// The way back.
    pub transpose_backward: [usize; 3],
    /// Median shape of the resampled dataset in voxels, axes transposed.
    pub median_shape: [f64; 3],
    /// Median spacing of the original images in mm, axes transposed.
    pub original_median_spacing: [f64; 3],
    /// Median shape of the cropped original images in voxels, axes transposed.
    pub original_median_shape: [f64; 3],
    /// Normalisation scheme per channel.
    pub normalization_schemes: Vec<&'static str>,
    /// Whether the nonzero mask limits the normalisation, per channel.
    pub use_mask_for_norm: Vec<bool>,
    /// The 2D configuration.
    pub plan_2d: PatchPlan,
    /// The 3D configuration at full resolution; absent for 2D datasets.
    pub plan_3d_fullres: Option<PatchPlan>,
    /// The 3D configuration at low resolution, where one is needed.
    pub plan_3d_lowres: Option<PatchPlan>,
}

/// Makes all decisions for a dataset.
pub fn plan_experiment(facts: &DatasetFacts, options: &PlannerOptions) -> Result<Experiment, PlanError> {
    facts.check()?;
    options.check_values()?;
    let Fingerprint { spacings, shapes_after_crop, median_relative_size_after_cropping, .. } =
        &facts.fingerprint;
    let limits = Limits {
        preset: options.preset,
        memory_gb: options.memory_gb(),
        output_channels: facts.label_entries,
    };

    let target = match options.overwrite_target_spacing {
        Some(spacing) => TargetSpacing { spacing, rule: SpacingRule::Given },
        None => target_spacing(spacings, shapes_after_crop),
    };
    let (transpose_forward, transpose_backward) =
        if options.suppress_transpose { ([0, 1, 2], [0, 1, 2]) } else { transpose_orders(target.spacing) };
    let spacing = transposed(target.spacing, transpose_forward);

    let resampled: Vec<[usize; 3]> = spacings
        .iter()
        .zip(shapes_after_crop)
        .map(|(&old, &shape)| resampled_shape(shape, old, target.spacing))
        .collect();
    let median_shape =
        transposed(axis_medians(&resampled, |shape, axis| shape[axis] as f64), transpose_forward);
    if let Some(axis) = median_shape.iter().position(|&edge| edge < 1.0) {
        return Err(PlanError::BadFingerprint {
            problem: format!(
                "the median image would have {median_shape:?} voxels at the target spacing {spacing:?} mm; \
                 expected at least one along axis {axis}: choose a finer target spacing"
            ),
        });
    }
    let dataset_voxels = median_shape.iter().product::<f64>() * facts.training_cases as f64;

    let mut plan_3d_fullres = None;
    let mut plan_3d_lowres = None;
    if median_shape[0] != 1.0 {
        let fullres = plan_patch(&limits, &spacing, &median_shape, dataset_voxels);
        plan_3d_lowres = plan_lowres(&limits, &fullres, facts.training_cases);
        plan_3d_fullres = Some(fullres);
    }
    let plan_2d = plan_patch(&limits, &spacing[1..], &median_shape[1..], dataset_voxels);

    let normalization_schemes: Vec<&'static str> =
        facts.channel_names.iter().map(|name| normalization_scheme(name)).collect();
    let use_mask_for_norm = normalization_schemes
        .iter()
        .map(|scheme| uses_mask(scheme, *median_relative_size_after_cropping))
        .collect();
    Ok(Experiment {
        target_spacing: target,
        transpose_forward,
        transpose_backward,
        median_shape,
        original_median_spacing: transposed(
            axis_medians(spacings, |spacing, axis| spacing[axis]),
            transpose_forward,
        ),
        original_median_shape: transposed(
            axis_medians(shapes_after_crop, |shape, axis| shape[axis] as f64),
            transpose_forward,
        ),
        normalization_schemes,
        use_mask_for_norm,
        plan_2d,
        plan_3d_fullres,
        plan_3d_lowres,
    })
}

/// Makes all decisions and states them as the content of a plans file.
pub fn make_plans(facts: &DatasetFacts, options: &PlannerOptions) -> Result<Plans, PlanError> {
    options.check()?;
    let experiment = plan_experiment(facts, options)?;
    Plans::from_json(document::plans(facts, options, &experiment), options.plans_name())
}

fn axis_medians<T>(cases: &[T], value: impl Fn(&T, usize) -> f64) -> [f64; 3] {
    [0, 1, 2].map(|axis| median(&cases.iter().map(|case| value(case, axis)).collect::<Vec<_>>()))
}
