//! `FlatTrainer`: nnU-Net's default training with the loss, the schedule and the transform of this program. The same could
//! be a TOML file for `-tr`.

use nnunet::augment::AugmentationList;
use nnunet::parts::Choice;
use nnunet::recipe::Recipe;

/// Its name.
pub(crate) const NAME: &str = "FlatTrainer";

/// The recipe.
pub(crate) fn recipe() -> Recipe {
    Recipe {
        name: NAME.to_owned(),
        loss: Choice::new("brier"),
        schedule: Choice::new("halving").with("every", 10),
        augmentation: Choice::new("posterized"),
        // FlatNet has a single output.
        deep_supervision: false,
        ..Recipe::default_trainer()
    }
}

/// nnU-Net's default augmentation, after which one patch in five is posterized.
pub(crate) fn augmentation() -> AugmentationList {
    let mut list = AugmentationList::default();
    list.transforms.push(Choice::new("posterize").with("step", 0.5).with("probability", 0.2));
    list
}
