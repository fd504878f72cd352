//! When buffers are in use: values and gradients over the steps of a pass, and what is computed again.
//!
//! Time goes through the runs of the forward pass, and in training back through its steps: the backward step of step t comes at
//! time 2 * steps - 1 - t.
//!
//! With recomputation a value keeps its memory from the forward to the backward pass only if several steps read it (skip
//! connections, inputs of residual blocks, what the deep-supervision heads read) or a transposed convolution does (the result of a
//! stage). The others are freed after their reader and computed again, just before the backward step that first asks for
//! them, from what was kept. What comes after the last kept value is left alone: the backward pass begins there.

use nnunet_kernels::layout::BlockedShape;

use super::memory_plan::Lifetime;
use super::program::{Action, Program, Step, ValueId};
use super::runs::{self, Run};
use super::storage::Kept;

/// Lifetimes of all buffers of a pass.
#[derive(Debug)]
pub(super) struct Lifetimes {
    /// By value: its own buffer; then by value: its gradient's; then by value: its buffer in the backward pass, where that is
    /// another one.
    pub(super) buffers: Vec<Option<Lifetime>>,
    /// By value: index of the gradient's buffer.
    pub(super) gradient_buffer: Vec<Option<usize>>,
    /// By step: the steps to be run again before its backward step, in order.
    pub(super) again: Vec<Vec<usize>>,
}

/// Index in `runs` of each value's first and last mention.
fn mentions(program: &Program, runs: &[Run]) -> Vec<Option<(usize, usize)>> {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; program.values.len()];
    for (t, run) in runs.iter().enumerate() {
        let step = &program.steps[run.step];
        for &value in step.output.iter().chain(&step.sources[run.sources.clone()]) {
            let span = spans[value].get_or_insert((t, t));
            span.1 = t;
        }
    }
    spans
}

/// For inference: a value's memory is free after its last reader.
pub(super) fn inference(program: &Program, kept: Kept<'_>, runs: &[Run]) -> Lifetimes {
    let spans = mentions(program, runs).into_iter().enumerate();
    let buffers =
        spans.map(|(value, span)| span.map(|(first, last)| Lifetime { len: kept.len(value), first, last }));
    Lifetimes {
        buffers: buffers.collect(),
        gradient_buffer: vec![None; program.values.len()],
        again: vec![Vec::new(); program.steps.len()],
    }
}

/// For training, forward and backward.
pub(super) fn training(program: &Program, kept: Kept<'_>, recompute: bool) -> Lifetimes {
    let count = program.values.len();
    let end = 2 * program.steps.len() - 1;
    let dropped = if recompute { dropped(program) } else { vec![false; count] };
    let again = schedule(program, &dropped);
    let mut buffers: Vec<Option<Lifetime>> = vec![None; 3 * count];
    let mut mention = |buffer: usize, value: ValueId, time: usize| {
        let life = buffers[buffer].get_or_insert(Lifetime { len: kept.len(value), first: time, last: time });
        life.first = life.first.min(time);
        life.last = life.last.max(time);
    };
    for (t, step) in program.steps.iter().enumerate() {
        for &value in step.output.iter().chain(&step.sources) {
            mention(value, value, t);
        }
        let repeated = again[t].iter().map(|&w| &program.steps[w]);
        let read = repeated.flat_map(|s| s.output.iter().chain(&s.sources)).copied();
        for value in read.chain(read_back(program, step)) {
            let buffer = if dropped[value] { 2 * count + value } else { value };
            mention(buffer, value, end - t);
        }
    }
    let gradient_buffer = gradient_buffers(program, kept.shapes, &mut buffers);
    Lifetimes { buffers, gradient_buffer, again }
}

/// Values that the backward step of `step` reads.
fn read_back<'a>(program: &'a Program, step: &'a Step) -> impl Iterator<Item = ValueId> + 'a {
    let activated = matches!(step.action, Action::Add { negative_slope } if negative_slope != 1.0);
    let own = step.output.filter(|&value| {
        let value = &program.values[value];
        value.norm.is_some() || value.negative_slope != 1.0 || activated
    });
    let sources = if step.action.backward_reads_sources() { &step.sources[..] } else { &[] };
    own.into_iter().chain(sources.iter().copied())
}

/// By value: whether it is freed after the forward pass and computed again.
fn dropped(program: &Program) -> Vec<bool> {
    let mut readers = vec![0usize; program.values.len()];
    for step in &program.steps {
        // What is upsampled counts as read twice: it is the result of a stage.
        let weight = if matches!(step.action, Action::Transposed { .. }) { 2 } else { 1 };
        step.sources.iter().for_each(|&value| readers[value] += weight);
    }
    let mut dropped = vec![false; program.values.len()];
    let mut kept_later = false;
    for value in program.steps.iter().rev().filter_map(|step| step.output) {
        dropped[value] = kept_later && readers[value] == 1;
        kept_later |= readers[value] > 1;
    }
    dropped
}

/// By step: what has to be run again before its backward step.
fn schedule(program: &Program, dropped: &[bool]) -> Vec<Vec<usize>> {
    let mut writer = vec![0; program.values.len()];
    for (t, step) in program.steps.iter().enumerate() {
        if let Some(value) = step.output {
            writer[value] = t;
        }
    }
    let mut there: Vec<bool> = dropped.iter().map(|dropped| !dropped).collect();
    let mut again = vec![Vec::new(); program.steps.len()];
    for (t, step) in program.steps.iter().enumerate().rev() {
        let mut wanted: Vec<ValueId> = read_back(program, step).collect();
        while let Some(value) = wanted.pop() {
            if !std::mem::replace(&mut there[value], true) {
                again[t].push(writer[value]);
                wanted.extend(&program.steps[writer[value]].sources);
            }
        }
        again[t].sort_unstable();
    }
    again
}

/// Gives gradients their buffers, `count + value` for that of a value. Two values can have the same one: a sum hands its gradient on
/// to the term that it is the last reader of.
fn gradient_buffers(
    program: &Program,
    values: &[BlockedShape],
    lifetimes: &mut [Option<Lifetime>],
) -> Vec<Option<usize>> {
    let count = program.values.len();
    let end = 2 * program.steps.len() - 1;
    let spans = mentions(program, &runs::training(program));
    let mut buffers: Vec<Option<usize>> = vec![None; count];
    for (t, step) in program.steps.iter().enumerate().rev() {
        let Some(value) = step.output else { continue };
        let Some((_, last_reader)) = spans[value].filter(|(_, last)| *last > t) else { continue };
        // Nobody asks for the batch's gradient, but a kernel writes those of all its sources or none.
        let with_others = program.steps.iter().any(|s| s.sources.len() > 1 && s.sources.contains(&value));
        if matches!(step.action, Action::Import) && !with_others {
            // A copy of the batch may have handed its buffer on, which others use by now.
            buffers[value] = None;
            continue;
        }
        let buffer = match buffers[value] {
            Some(shared) => shared,
            None => {
                buffers[value] = Some(count + value);
                lifetimes[count + value] =
                    Some(Lifetime { len: values[value].len(), first: end - last_reader, last: end - t });
                count + value
            }
        };
        if let Some(life) = &mut lifetimes[buffer] {
            life.last = life.last.max(end - t);
        }
        if matches!(step.action, Action::Add { .. } | Action::Materialise) {
            let heir = step.sources.iter().find(|&&s| spans[s].is_some_and(|(_, last)| last == t));
            if let Some(&heir) = heir {
                buffers[heir] = Some(buffer);
            }
        }
    }
    buffers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::program::compile;

    /// Names of the nodes whose values are dropped, and what is run again when.
    fn plan(class: &str, own: &[(&str, serde_json::Value)]) -> (Vec<String>, Vec<(String, Vec<String>)>) {
        let mut kwargs = json!({
            "n_stages": 2, "features_per_stage": 4, "conv_op": "Conv3d", "kernel_sizes": 3, "strides": [1, 2],
            "n_conv_per_stage_decoder": 2, "norm_op": "InstanceNorm3d", "nonlin": "ReLU"
        });
        own.iter().for_each(|(key, value)| kwargs[*key] = value.clone());
        let graph = nnunet_graph::build(class, &kwargs, 1, 2, true).unwrap();
        let program = compile(&graph).unwrap();
        let name = |step: &Step| graph.node(step.node).name.clone();
        let dropped = dropped(&program);
        let schedule = schedule(&program, &dropped);
        let steps = || program.steps.iter().enumerate();
        let names = steps().filter(|(_, s)| s.output.is_some_and(|v| dropped[v])).map(|(_, s)| name(s));
        let again = steps().filter(|(t, _)| !schedule[*t].is_empty());
        let again =
            again.map(|(t, s)| (name(s), schedule[t].iter().map(|&w| name(&program.steps[w])).collect()));
        (names.collect(), again.collect())
    }

    #[test]
    fn plain_stages_keep_their_results() {
        let (dropped, again) = plan("PlainConvUNet", &[("n_conv_per_stage", json!(3))]);
        let conv = |stage: usize, i: usize| format!("encoder.stages.{stage}.0.convs.{i}.conv");
        // The skip and the lowest result are kept; the decoder's only stage comes last.
        assert_eq!(dropped, [conv(0, 0), conv(0, 1), conv(1, 0), conv(1, 1)]);
        // Each stage is computed again when its last convolution's weight gradient is due.
        let expected =
            [(conv(0, 2), vec![conv(0, 0), conv(0, 1)]), (conv(1, 2), vec![conv(1, 0), conv(1, 1)])];
        assert_eq!(again, expected);
    }

    #[test]
    fn residual_blocks_keep_their_sums() {
        let (dropped, _) = plan("ResidualEncoderUNet", &[("n_blocks_per_stage", json!(2))]);
        assert!(dropped.contains(&"encoder.stages.0.blocks.1.conv2.conv".to_owned()), "{dropped:?}");
        assert!(dropped.iter().all(|name| !name.ends_with("add") && !name.contains("stem")), "{dropped:?}");
    }
}
