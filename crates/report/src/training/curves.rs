//! The curves of a fold as figures.

use nnunet_train::history::History;

use super::fold::FoldRecord;
use crate::figure::{Figure, Lines, Series};

/// Classes whose curves can be told apart.
const MOST_CLASSES: usize = 10;

/// Draws the curves of a fold; `classes` are the names of its classes.
pub(super) fn curves(fold: &FoldRecord, history: &History, classes: &[String]) -> Vec<Figure> {
    let epochs = history.complete_epochs();
    let series = |label: &str, values: Vec<f64>| Series { label: label.to_owned(), values };
    let figure = |name: &str, title: &str, caption: &str, unit: &str, series: Vec<Series>| {
        Lines {
            name: format!("{}_{name}", fold.name),
            title: format!("{title}, {}", fold.name.replace('_', " ")),
            caption: caption.to_owned(),
            unit: unit.to_owned(),
            series,
        }
        .draw()
    };
    let of_class = |class: usize| {
        let values = &history.dice_per_class_or_region[..epochs];
        values.iter().map(|dice| dice.get(class).copied().unwrap_or(f64::NAN)).collect()
    };
    let seconds = (0..epochs)
        .map(|epoch| history.epoch_end_timestamps[epoch] - history.epoch_start_timestamps[epoch])
        .collect();
    let mut figures = vec![
        figure(
            "loss",
            "Loss",
            "Training and validation batches. A validation loss that rises while the other falls is overfitting.",
            "loss",
            vec![
                series("training", history.train_losses[..epochs].to_vec()),
                series("validation", history.val_losses[..epochs].to_vec()),
            ],
        ),
        figure(
            "pseudo_dice",
            "Pseudo-Dice",
            "Of validation patches, not of whole cases. The moving average decides which checkpoint is the best.",
            "pseudo-Dice",
            vec![
                series("mean of the classes", history.mean_fg_dice[..epochs].to_vec()),
                series("moving average", history.ema_fg_dice[..epochs].to_vec()),
            ],
        ),
    ];
    let count = history.dice_per_class_or_region.first().map_or(0, Vec::len);
    if count > 1 {
        let shown = count.min(MOST_CLASSES);
        let label =
            |class: usize| classes.get(class).cloned().unwrap_or_else(|| format!("class {}", class + 1));
        let caption = match shown < count {
            true => format!("Of validation patches; the first {shown} of {count} classes."),
            false => "Of validation patches.".to_owned(),
        };
        let of_classes = (0..shown).map(|class| series(&label(class), of_class(class))).collect();
        figures.push(figure(
            "pseudo_dice_classes",
            "Pseudo-Dice of each class",
            &caption,
            "pseudo-Dice",
            of_classes,
        ));
    }
    figures.push(figure(
        "learning_rate",
        "Learning rate",
        "As the schedule set it.",
        "learning rate",
        vec![series("learning rate", history.lrs[..epochs].to_vec())],
    ));
    figures.push(figure(
        "seconds",
        "Time per epoch",
        "Training and validation batches; saving not included.",
        "seconds",
        vec![series("seconds", seconds)],
    ));
    if fold.waiting.iter().any(|share| share.is_finite()) {
        figures.push(figure(
            "waiting",
            "Waiting for batches",
            "Share of each epoch. Much above zero, the network is faster than the loading and augmenting of its batches.",
            "% of the epoch",
            vec![series("waiting", fold.waiting.iter().take(epochs).map(|share| 100.0 * share).collect())],
        ));
    }
    figures
}
