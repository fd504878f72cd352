use std::path::Path;

use nnunet_base::Ctx;
use nnunet_base::progress::Cancel;
use nnunet_checkpoint::{Checkpoint, StateDict};
use nnunet_dataset::image_formats;
use nnunet_pyformats::pickle::{Dict, Value};
use nnunet_report::training::{TrainingRequest, training_report};
use nnunet_report::{Report, ReportError};

use super::assert_self_contained;
use super::evaluation::{Warnings, entry, summary};

/// A checkpoint with curves over `epochs` epochs.
fn checkpoint(path: &Path, epochs: usize) {
    let floats = |value: &dyn Fn(f64) -> f64| {
        Value::List((0..epochs).map(|epoch| Value::Float(value(epoch as f64))).collect())
    };
    let mut curves = Dict::new();
    curves.insert("mean_fg_dice", floats(&|e| 0.1 * e));
    curves.insert("ema_fg_dice", floats(&|e| 0.05 * e));
    let classes =
        (0..epochs).map(|e| Value::List(vec![Value::Float(0.1 * e as f64), Value::Float(f64::NAN)]));
    curves.insert("dice_per_class_or_region", Value::List(classes.collect()));
    curves.insert("train_losses", floats(&|e| 1.0 - 0.25 * e));
    curves.insert("val_losses", floats(&|e| 1.5 - 0.25 * e));
    curves.insert("lrs", floats(&|e| 0.01 - 0.001 * e));
    curves.insert("epoch_start_timestamps", floats(&|e| 100.0 * e));
    curves.insert("epoch_end_timestamps", floats(&|e| 100.0 * e + 40.0));
    let mut checkpoint = Checkpoint::new(StateDict::default(), "nnUNetTrainer", Dict::new().into());
    checkpoint.logging = curves.into();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    checkpoint.write(path).unwrap();
}

fn report(folder: &Path, warnings: &Warnings) -> Result<Report, ReportError> {
    let formats = image_formats();
    let request = TrainingRequest { folder, references: None, images: None, formats: &formats };
    training_report(&request, Ctx::new(warnings, &Cancel::new()))
}

#[test]
fn curves_waiting_and_validation_of_all_folds() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("nnUNetTrainer<b>__nnUNetPlans__2d");
    checkpoint(&model.join("fold_0/checkpoint_final.pth"), 3);
    checkpoint(&model.join("fold_1/checkpoint_final.pth"), 3);
    checkpoint(&model.join("fold_1/checkpoint_latest.pth"), 2);
    std::fs::create_dir_all(model.join("fold_2")).unwrap();
    let log = "t: Epoch 0\nt: Waited for batches: 12.5 %\nt: Epoch 1\nt: Waited for batches: 37.5 %\n";
    std::fs::write(model.join("fold_0/training_log_2026_1_1_1_1_1.txt"), log).unwrap();
    for (fold, dice) in [(0, "0.5"), (1, "0.75")] {
        let entries = [entry(root.path(), &format!("case<i>{fold}"), dice)];
        summary(&model.join(format!("fold_{fold}/validation/summary.json")), &entries);
    }
    let warnings = Warnings::default();
    let made = report(&model, &warnings).unwrap();
    assert_self_contained(&made.html);
    // Fold 1 goes on from a checkpoint that is newer than its final one.
    let row = |name: &str| {
        let rest = made.html.split(&format!("<th scope=\"row\">{name}</th>")).nth(1).unwrap();
        rest.split("</tr>")
            .next()
            .unwrap()
            .replace("</td><td class=\"n\">", " ")
            .replace("<td>", "")
            .replace("</td>", "")
    };
    assert_eq!(row("fold 0"), "complete 3 0.5 1 0.1 40 25 1 0.5");
    assert_eq!(row("fold 1"), "not complete 2 0.75 1.25 0.05 40 – 1 0.5");
    let names: Vec<&str> = made.figures.iter().map(|(name, _)| &name[3..]).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("fold_0_")).count(), 6, "{names:?}");
    assert!(names.contains(&"fold_0_waiting") && !names.contains(&"fold_1_waiting"), "{names:?}");
    // The validation of both folds together: two cases, of which none can be drawn.
    assert!(made.html.contains("2 cases of 2 folds"));
    assert!(made.html.contains("case&lt;i&gt;1"));
    assert_eq!(warnings.take().len(), 1);

    let one = report(&model.join("fold_0"), &warnings).unwrap();
    assert!(one.html.contains("nnUNetTrainer&lt;b&gt;__nnUNetPlans__2d</h1>"));
}

#[test]
fn a_folder_without_a_training_says_what_was_expected() {
    let root = tempfile::tempdir().unwrap();
    let warnings = Warnings::default();
    let error = report(root.path(), &warnings).unwrap_err().to_string();
    assert!(error.contains("neither a checkpoint nor folders fold_0"), "{error}");
    assert!(matches!(report(&root.path().join("nowhere"), &warnings), Err(ReportError::Read { .. })));
    std::fs::write(root.path().join("checkpoint_final.pth"), b"none").unwrap();
    assert!(matches!(report(root.path(), &warnings), Err(ReportError::Train(_))));
}
