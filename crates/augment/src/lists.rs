//! The augmentations of the reference's trainers as data: transforms in order with their probabilities and ranges, and
//! what else these trainers change about patches and mirroring.
//!
//! | list | trainers of the reference |
//! |---|---|
//! | `default` | `nnUNetTrainer` and all that keep its augmentation |
//! | `none` | `nnUNetTrainerNoDA` |
//! | `no_mirroring` | `nnUNetTrainerNoMirroring`, `nnUNetTrainer_*epochs_NoMirroring` |
//! | `only_mirror01` | `nnUNetTrainer_onlyMirror01`, `nnUNetTrainer_onlyMirror01_1500ep` |
//! | `no_dummy_2d` | `nnUNetTrainer_noDummy2DDA` |
//! | `da_segord0` | `nnUNetTrainer_DASegOrd0` |
//! | `da_segord0_no_mirroring` | `nnUNetTrainer_DASegOrd0_NoMirroring` |
//! | `only_mirror01_da_segord0` | `nnUNetTrainer_onlyMirror01_DASegOrd0` |
//! | `da5` | `nnUNetTrainerDA5`, `nnUNetTrainerDA5_10epochs` |
//! | `da5_ord0` | `nnUNetTrainerDA5ord0` |
//! | `da5_segord0` | `nnUNetTrainerDA5Segord0` |
//! | `only_mirror01_da5` | `nnUNetTrainer_onlyMirror01_DA5` |

use nnunet_base::parts::{Choice, Named, Options};
use serde_json::{Value, json};

use super::error::AugmentError;
use super::geometry::{DEFAULT_SMALLEST_SCALE, PatchOptions, SliceRule};

/// An augmentation as data.
#[derive(Debug, Clone, PartialEq)]
pub struct AugmentationList {
    /// Transforms in the order in which they are applied.
    pub transforms: Vec<Choice>,
    /// How patches are cropped and rotated.
    pub patch: PatchOptions,
    /// Axes that are mirrored, in training by the transform `mirror` and in prediction.
    pub mirroring: Mirroring,
}

/// Axes of a patch that may be mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirroring {
    /// All of them.
    All,
    /// The first two of three, or the first of two.
    AllButLast,
    /// None.
    None,
    /// These axes of the configuration's own patch, counted from 0.
    Axes(Vec<usize>),
}

impl Mirroring {
    /// The axes (0..dimensions) of a patch with 2 or 3 `dimensions`; `None` for no mirroring, as checkpoints write it.
    pub fn axes(&self, dimensions: usize) -> Option<Vec<usize>> {
        match self {
            Self::All => Some((0..dimensions).collect()),
            Self::AllButLast => Some((0..dimensions.saturating_sub(1)).collect()),
            Self::None => None,
            Self::Axes(axes) => Some(axes.clone()).filter(|axes| !axes.is_empty()),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("all") => Some(Self::All),
            Some("all_but_last") => Some(Self::AllButLast),
            Some("none") => Some(Self::None),
            Some(_) => None,
            None => {
                let axes = value.as_array()?.iter().map(|axis| usize::try_from(axis.as_u64()?).ok());
                Some(Self::Axes(axes.collect::<Option<_>>()?))
            }
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::All => json!("all"),
            Self::AllButLast => json!("all_but_last"),
            Self::None => json!("none"),
            Self::Axes(axes) => json!(axes),
        }
    }
}

impl Default for AugmentationList {
    /// That of `nnUNetTrainer`.
    fn default() -> Self {
        let transforms = default_transforms("linear", 0.5);
        Self { transforms, patch: PatchOptions::default(), mirroring: Mirroring::All }
    }
}

impl AugmentationList {
    /// The list that `choice` names, with what its options change: `transforms` (a list of transforms, instead of the
    /// list's own), `append` (transforms after these), `mirroring` (`all`, `all_but_last`, `none` or a list of axes), `slices` (`anisotropic` or `never`) and
    /// `smallest_scale` (of the crop; 0 for a crop of the patch's size).
    ///
    /// # Errors
    /// Unknown lists and options.
    pub fn choose(choice: &Choice, lists: &Named<Self>) -> Result<Self, AugmentError> {
        let mut list = lists.get(&choice.kind)?.clone();
        let mut options = choice.reader(format!("augmentation {}", choice.kind));
        if let Some(transforms) = options.read("transforms", "a list of transforms", transforms_of)? {
            list.transforms = transforms;
        }
        list.transforms
            .extend(options.read("append", "a list of transforms", transforms_of)?.unwrap_or_default());
        let mirroring = "all, all_but_last, none or a list of axes";
        if let Some(mirroring) = options.read("mirroring", mirroring, Mirroring::from_value)? {
            list.mirroring = mirroring;
        }
        read_patch_options(&mut options, &mut list.patch)?;
        options.finish()?;
        Ok(list)
    }

    /// The list in full, as a choice that [`AugmentationList::choose`] reads, based on the list called `base`.
    pub fn to_choice(&self, base: &str) -> Choice {
        let transforms: Vec<Value> = self.transforms.iter().map(Choice::to_value).collect();
        let slices = match self.patch.slices {
            SliceRule::Anisotropic => "anisotropic",
            SliceRule::Never => "never",
        };
        Choice::new(base)
            .with("mirroring", self.mirroring.to_value())
            .with("slices", slices)
            .with("smallest_scale", self.patch.smallest_scale.unwrap_or(0.0))
            .with("transforms", transforms)
    }
}

fn transforms_of(value: &Value) -> Option<Vec<Choice>> {
    value.as_array()?.iter().map(Choice::from_value).collect()
}

fn read_patch_options(options: &mut Options<'_>, patch: &mut PatchOptions) -> Result<(), AugmentError> {
    if let Some(slices) = options.read("slices", "anisotropic or never", |value| match value.as_str()? {
        "anisotropic" => Some(SliceRule::Anisotropic),
        "never" => Some(SliceRule::Never),
        _ => None,
    })? {
        patch.slices = slices;
    }
    let given = patch.smallest_scale.unwrap_or(0.0);
    // Below a tenth a crop has a thousand times the voxels of its patch.
    let valid = |scale: f64| scale == 0.0 || (0.1..=1.0).contains(&scale);
    let expected = "0 for a crop of the patch's size, or a number from 0.1 to 1";
    let scale = options.number_where("smallest_scale", given, expected, valid)?;
    patch.smallest_scale = (scale > 0.0).then_some(scale);
    Ok(())
}

/// The lists of the reference's trainers by name.
pub fn lists() -> Named<AugmentationList> {
    let default = AugmentationList::default;
    let da5 = |image, segmentation| AugmentationList {
        transforms: da5_transforms(image, segmentation),
        patch: PatchOptions { smallest_scale: Some(0.7), ..PatchOptions::default() },
        mirroring: Mirroring::All,
    };
    let segord0 = |mirroring| AugmentationList {
        transforms: default_transforms("nearest", 1.0),
        mirroring,
        ..AugmentationList::default()
    };
    let none = AugmentationList {
        transforms: Vec::new(),
        patch: PatchOptions { smallest_scale: None, ..PatchOptions::default() },
        mirroring: Mirroring::None,
    };
    let never = PatchOptions { slices: SliceRule::Never, smallest_scale: Some(DEFAULT_SMALLEST_SCALE) };
    Named::new("augmentation")
        .with("default", "the default pipeline", default())
        .with("none", "no augmentation, no mirroring in prediction", none)
        .with(
            "no_mirroring",
            "the default without mirroring",
            AugmentationList { mirroring: Mirroring::None, ..default() },
        )
        .with(
            "only_mirror01",
            "the default, mirrored along all axes but the last",
            AugmentationList { mirroring: Mirroring::AllButLast, ..default() },
        )
        .with(
            "no_dummy_2d",
            "the default, rotated in space even where the patch is flat",
            AugmentationList { patch: never, ..default() },
        )
        .with("da_segord0", "the default with nearest-neighbour segmentations", segord0(Mirroring::All))
        .with(
            "da_segord0_no_mirroring",
            "nearest-neighbour segmentations, no mirroring",
            segord0(Mirroring::None),
        )
        .with(
            "only_mirror01_da_segord0",
            "nearest-neighbour segmentations, mirrored along all axes but the last",
            segord0(Mirroring::AllButLast),
        )
        .with("da5", "more and stronger transforms", da5("linear", "linear"))
        .with("da5_ord0", "da5, all nearest-neighbour", da5("nearest", "nearest"))
        .with("da5_segord0", "da5 with nearest-neighbour segmentations", da5("linear", "nearest"))
        .with(
            "only_mirror01_da5",
            "da5, mirrored along all axes but the last",
            AugmentationList { mirroring: Mirroring::AllButLast, ..da5("linear", "linear") },
        )
}

fn choice(kind: &str, options: Value) -> Choice {
    let mut choice = Choice::new(kind);
    if let Value::Object(options) = options {
        choice.options = options;
    }
    choice
}

/// The default pipeline, with the interpolation of segmentations and the probability of damage to each label of the
/// previous stage.
fn default_transforms(segmentation: &str, label_probability: f64) -> Vec<Choice> {
    let factor = json!([[0.75, 1.0], [1.0, 1.25]]);
    let gamma = json!([[0.7, 1.0], [1.0, 1.5]]);
    let mut list = vec![
        choice(
            "spatial",
            json!({
                "rotation_probability": 0.2,
                "scaling_probability": 0.2,
                "scaling": [0.7, 1.4],
                "synchronised_scaling": 1.0,
                "segmentation": segmentation,
            }),
        ),
        choice("gaussian_noise", json!({"probability": 0.1, "deviation": [0.0, 0.1]})),
        choice("gaussian_blur", json!({"probability": 0.2, "channel_probability": 0.5, "sigma": [0.5, 1.0]})),
        choice("brightness", json!({"probability": 0.15, "factor": factor})),
        choice("contrast", json!({"probability": 0.15, "factor": factor})),
        choice(
            "low_resolution",
            json!({"probability": 0.25, "channel_probability": 0.5, "scale": [0.5, 1.0]}),
        ),
        choice("gamma", json!({"probability": 0.1, "gamma": gamma, "invert_probability": 1.0})),
        choice("gamma", json!({"probability": 0.3, "gamma": gamma, "invert_probability": 0.0})),
        Choice::new("mirror"),
    ];
    list.extend(last_transforms(label_probability));
    list
}

/// What all lists end with: masks, and a cascade's damage to the previous stage's segmentation.
fn last_transforms(label_probability: f64) -> [Choice; 4] {
    [
        Choice::new("mask_outside"),
        Choice::new("previous_stage_channels"),
        choice(
            "binary_operator",
            json!({"probability": 0.4, "label_probability": label_probability, "radius": [1.0, 8.0]}),
        ),
        choice(
            "remove_component",
            json!({"probability": 0.2, "label_probability": label_probability, "largest_fraction": 0.15}),
        ),
    ]
}

/// The stronger pipeline DA5, with the interpolation of images and segmentations.
fn da5_transforms(image: &str, segmentation: &str) -> Vec<Choice> {
    let contrast = |preserve_range: bool| {
        json!({
            "kind": "contrast",
            "probability": 0.2,
            "channel_probability": 0.5,
            "factor": [[0.5, 1.0], [1.0, 2.0]],
            "preserve_range": preserve_range,
        })
    };
    let gamma = json!({"probability": 0.1, "gamma": [[0.7, 1.0], [1.0, 1.5]], "invert_probability": 1.0});
    let mut list = vec![
        choice(
            "spatial",
            json!({
                "rotation_probability": 0.4,
                "axis_rotation_probability": 0.5,
                "scaling_probability": 0.2,
                "scaling": [0.7, 1.43],
                "synchronised_scaling": 0.0,
                "image": image,
                "segmentation": segmentation,
            }),
        ),
        choice("rotate90", json!({"probability": 0.5, "turns": [0, 1, 2, 3]})),
        choice("transpose", json!({"probability": 0.5})),
        choice(
            "one_of",
            json!({"of": [
                {"kind": "median_filter", "probability": 0.2, "channel_probability": 0.5, "size": [2, 7]},
                {"kind": "gaussian_blur", "probability": 0.2, "channel_probability": 0.5, "sigma": [0.3, 1.5],
                 "synchronised_axes": true},
            ]}),
        ),
        choice("gaussian_noise", json!({"probability": 0.1, "deviation": [0.0, 0.1]})),
        choice(
            "brightness_shift",
            json!({"probability": 0.1, "channel_probability": 0.5, "mean": 0.0, "deviation": 0.5}),
        ),
        choice("one_of", json!({"of": [contrast(true), contrast(false)]})),
        choice(
            "low_resolution",
            json!({"probability": 0.15, "channel_probability": 0.5, "scale": [0.25, 1.0]}),
        ),
        choice("gamma", gamma.clone()),
        choice("gamma", gamma),
        Choice::new("mirror"),
        choice("blank_rectangles", json!({"probability": 0.4, "channel_probability": 0.5, "count": [1, 4]})),
        choice(
            "brightness_gradient",
            json!({
                "probability": 0.3,
                "channel_probability": 0.5,
                "location": [-0.5, 1.5],
                "strength": [[-5.0, -1.0], [1.0, 5.0]],
            }),
        ),
        choice(
            "local_gamma",
            json!({
                "probability": 0.3,
                "channel_probability": 0.5,
                "location": [-0.5, 1.5],
                "gamma": [[0.01, 0.8], [1.5, 4.0]],
            }),
        ),
        choice("sharpen", json!({"probability": 0.2, "channel_probability": 0.5, "strength": [0.1, 1.0]})),
    ];
    list.extend(last_transforms(1.0));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AugmentationPolicy, ConfigurationFacts, transforms};

    fn policy(list: &AugmentationList, patch: &[usize]) -> AugmentationPolicy {
        let facts = ConfigurationFacts { patch_size: patch.to_vec(), ..Default::default() };
        AugmentationPolicy::new(list, &facts, &transforms()).unwrap()
    }

    #[test]
    fn every_list_can_be_built_for_every_kind_of_patch() {
        for (name, _, list) in lists().iter() {
            for patch in [&[32, 40, 40][..], &[4, 40, 40], &[48, 32], &[5, 6, 7]] {
                let policy = policy(list, patch);
                assert_eq!(policy.steps.is_empty(), name == "none", "{name} {patch:?}");
            }
        }
    }

    #[test]
    fn lists_change_crops_and_mirroring_as_their_trainers_do() {
        let lists = lists();
        let of = |name: &str, patch: &[usize]| {
            let policy = policy(lists.get(name).unwrap(), patch);
            (policy.geometry.initial_patch, policy.mirroring_axes)
        };
        assert_eq!(of("default", &[128; 3]), ([205; 3], Some(vec![0, 1, 2])));
        assert_eq!(of("da5", &[128; 3]), ([249; 3], Some(vec![0, 1, 2])));
        assert_eq!(of("none", &[128; 3]), ([128; 3], None));
        assert_eq!(of("only_mirror01_da5", &[128; 3]), ([249; 3], Some(vec![0, 1])));
        assert_eq!(of("only_mirror01", &[64, 64]).1, Some(vec![0]));
        assert_eq!(of("no_dummy_2d", &[16, 64, 64]).0[0], 53);
    }

    #[test]
    fn choices_change_lists_and_lists_come_back_from_choices() {
        let lists = lists();
        let choice = Choice::new("da5").with("mirroring", "all_but_last");
        let chosen = AugmentationList::choose(&choice, &lists).unwrap();
        assert_eq!(&chosen, lists.get("only_mirror01_da5").unwrap());
        for (_, _, list) in lists.iter() {
            let choice = list.to_choice("default");
            assert_eq!(&AugmentationList::choose(&choice, &lists).unwrap(), list);
        }
        let error = |choice: Choice| AugmentationList::choose(&choice, &lists).unwrap_err().to_string();
        assert!(error(Choice::new("da6")).contains("did you mean da5?"));
        let misspelt = error(Choice::new("da5").with("miroring", "none"));
        assert!(
            misspelt.contains("augmentation da5: there is no option \"miroring\" (did you mean mirroring?)")
        );
        let wrong = error(Choice::new("da5").with("mirroring", "some"));
        assert!(wrong.contains("expected all, all_but_last, none or a list of axes"), "{wrong}");
    }
}
