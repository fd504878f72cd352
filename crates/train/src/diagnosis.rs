//! Why a step had no finite result: which sample of the batch, and which term of the loss.

use nnunet_base::memory::MemoryLimit;
use nnunet_graph::Parameters;
use nnunet_graph::backend::{StepError, StepSpec, TrainingSession};
use nnunet_graph::loss::LossSpec;
use nnunet_graph::optimiser::Rates;

use super::batch::Batch;
use super::setup::Setup;
use super::single_sample::single_sample;

/// What makes the step on `batch` fail, a phrase for each cause: weights or images that are not finite, or else each sample
/// that fails alone with the terms of the loss that do.
pub(super) fn diagnose(
    setup: &Setup,
    session: &dyn TrainingSession,
    batch: &Batch,
    limit: MemoryLimit,
) -> Vec<String> {
    let all = || (0..batch.cases.len()).map(|sample| place(batch, sample)).collect();
    let Ok(snapshot) = session.export() else { return all() };
    if let Some(name) = not_finite(&snapshot.parameters) {
        return vec![format!("the weights {name} are not finite since an earlier step")];
    }
    let mut causes: Vec<String> = (0..batch.cases.len())
        .filter(|&sample| single_sample(batch, sample).image.data.iter().any(|value| !value.is_finite()))
        .map(|sample| format!("{}: the image has values that are not finite", place(batch, sample)))
        .collect();
    // A session of its own for each term, beside the one that failed, has to fit into the memory.
    if causes.is_empty() && has_room(limit, session, batch) {
        for sample in 0..batch.cases.len() {
            let failing = failing_terms(setup, &snapshot.parameters, &single_sample(batch, sample));
            if !failing.is_empty() {
                causes.push(format!("{}: {}", place(batch, sample), failing.join(", ")));
            }
        }
    }
    if causes.is_empty() { all() } else { causes }
}

/// Where a sample of the batch comes from.
fn place(batch: &Batch, sample: usize) -> String {
    let case = &batch.cases[sample];
    match batch.starts.get(sample) {
        Some([z, y, x]) => {
            format!("case {case}, patch from voxel ({z}, {y}, {x}) of the preprocessed image (z, y, x)")
        }
        None => format!("case {case}"),
    }
}

/// The name of a parameter or buffer that is not finite.
fn not_finite(parameters: &Parameters) -> Option<&str> {
    let learned = parameters.iter().map(|(name, parameter)| (name, parameter.value()));
    let buffers = parameters.buffers().map(|(name, buffer)| (name, buffer.value()));
    let bad = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    learned.chain(buffers).find(|(_, values)| bad(values)).map(|(name, _)| name)
}

fn has_room(limit: MemoryLimit, session: &dyn TrainingSession, batch: &Batch) -> bool {
    let [_, c, z, y, x] = batch.image.shape;
    let need = |shape| session.memory(shape).map_or(usize::MAX, |memory| memory.total());
    let both = need(batch.image.shape).saturating_add(need([1, c, z, y, x]));
    !limit.excludes(both as u64)
}

/// The terms of the loss that fail on a batch of one sample, each with how.
fn failing_terms(setup: &Setup, parameters: &Parameters, batch: &Batch) -> Vec<String> {
    let fails = |loss: LossSpec| {
        let step = StepSpec { loss, ..setup.step.clone() };
        let mut session = setup.request.backend.training(&setup.graph, parameters.clone(), &step).ok()?;
        match session.step(batch.view(), Rates::from(0.0)) {
            Err(StepError::NotFinite { what, value }) => Some(format!("{what} is {value}")),
            _ => None,
        }
    };
    match &setup.step.loss {
        LossSpec::DeepSupervision { loss, weights } => {
            let failing = loss.terms.iter().filter_map(|term| {
                let mut single = loss.clone();
                single.terms = vec![term.clone()];
                let how = fails(LossSpec::DeepSupervision { loss: single, weights: weights.clone() })?;
                Some(format!("{how} for the {} term alone", term.term.name()))
            });
            failing.collect()
        }
        whole @ (LossSpec::PartlyLabelled { .. } | LossSpec::Host { .. }) => {
            fails(whole.clone()).into_iter().collect()
        }
    }
}
