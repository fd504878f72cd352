//! The weights that a fine-tuning starts from.

use std::path::Path;

use nnunet_base::progress::{Event, Progress};
use nnunet_checkpoint::{Checkpoint, Transfer, TransferRules, read_safetensors};
use nnunet_graph::Graph;
use nnunet_graph::backend::{Snapshot, TrainingSession};
use nnunet_recipe::{FineTuning, LoadedPart};

use super::error::TrainError;

/// Names that a message lists before it counts the others.
const LISTED: usize = 5;

/// Puts the weights of `path`, a checkpoint or a `.safetensors` file, into `session`, which trains `graph`, and nothing
/// else. Tensors of the segmentation heads are left as they are, as in the reference; so is what does not fit, which is
/// listed.
///
/// # Errors
/// A checkpoint that cannot be read or of which nothing fits.
pub(super) fn load_pretrained(
    path: &Path,
    graph: &Graph,
    session: &mut dyn TrainingSession,
    fine_tuning: &FineTuning,
    progress: &dyn Progress,
) -> Result<(), TrainError> {
    let is_safetensors = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    let weights =
        if is_safetensors { read_safetensors(path)? } else { Checkpoint::read_for_inference(path)?.weights };
    let mut parameters = session.export()?.parameters;
    let part = match fine_tuning.load {
        LoadedPart::All => None,
        LoadedPart::Encoder => Some("encoder."),
    };
    let transfer = weights
        .transfer_to(graph, &mut parameters, TransferRules { part, repeat_stem: fine_tuning.repeat_stem })
        .map_err(|source| TrainError::Pretrained { path: path.to_owned(), source: Box::new(source) })?;
    session.import(Snapshot { parameters, optimiser: None })?;
    let text = format!("{}: {}", path.display(), describe(&transfer, part));
    let is_whole = transfer.left.is_empty() && transfer.unused.is_empty() && transfer.repeated.is_none();
    progress.event(if is_whole { Event::Message(&text) } else { Event::Warning(&text) });
    Ok(())
}

/// What became of the weights, in one line.
fn describe(transfer: &Transfer, part: Option<&str>) -> String {
    let of = part.map_or("the network", |_| "the encoder");
    let total = transfer.taken + transfer.left.len();
    let mut text = format!(
        "starts from {} of {total} tensors of {of}; the segmentation heads start anew, as always",
        transfer.taken
    );
    if let Some(name) = &transfer.repeated {
        text.push_str(&format!("; {name} was repeated over the input channels"));
    }
    if !transfer.left.is_empty() {
        let left = transfer.left.iter().map(|tensor| tensor.to_string().trim().to_owned());
        text.push_str(&format!("; these do not fit and start anew: {}", listed(left)));
    }
    if !transfer.unused.is_empty() {
        let unused = transfer.unused.iter().cloned();
        text.push_str(&format!("; the network does not have {}", listed(unused)));
    }
    text
}

/// The first few and how many more there are.
fn listed(mut texts: impl ExactSizeIterator<Item = String>) -> String {
    let shown: Vec<String> = texts.by_ref().take(LISTED).collect();
    let shown = shown.join(", ");
    match texts.len() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use nnunet_graph::error::TensorMismatch;

    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_both_shapes_and_summed_up() {
        let tensor = |i: usize| TensorMismatch {
            name: format!("encoder.{i}"),
            in_checkpoint: (i > 0).then(|| vec![i, 3]),
            in_network: Some(vec![i, 4]),
        };
        let mut transfer = Transfer { taken: 20, left: (0..2).map(tensor).collect(), ..Transfer::default() };
        assert_eq!(
            describe(&transfer, None),
            "starts from 20 of 22 tensors of the network; the segmentation heads start anew, as always; these do not fit \
             and start anew: encoder.0: missing in the checkpoint, [0, 4] in the network, encoder.1: [1, 3] in the \
             checkpoint, [1, 4] in the network"
        );
        transfer.left = (0..9).map(tensor).collect();
        transfer.unused = vec!["projector.weight".to_owned()];
        let text = describe(&transfer, Some("encoder."));
        assert!(text.starts_with("starts from 20 of 29 tensors of the encoder; "), "{text}");
        assert!(text.ends_with(" and 4 more; the network does not have projector.weight"), "{text}");
    }
}
