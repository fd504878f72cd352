//! Which concatenations a forward pass for inference computes in parts.
//!
//! A convolution of concatenated sources can run in parts, each adding what some of its sources contribute. In inference that frees
//! the skip connection before what it is concatenated with is upsampled: at full resolution, where a pass needs most memory, two large
//! values are alive instead of three. It is done where it makes the memory of the whole pass smaller.

use std::cmp::Reverse;

use super::lifetimes;
use super::memory_plan;
use super::program::{Action, Program};
use super::runs::Run;
use super::storage::Kept;

/// The steps that the full-resolution output needs; with `in_parts`, those in parts that save memory so.
pub(super) fn choose(program: &Program, kept: Kept<'_>, in_parts: bool) -> Vec<Run> {
    let needed = program.steps.iter().enumerate().filter(|(_, step)| step.inference);
    let mut runs: Vec<Run> = needed.map(|(index, step)| Run::whole(index, step)).collect();
    if !in_parts {
        return runs;
    }
    let memory = |runs: &[Run]| memory_plan::assign(&lifetimes::inference(program, kept, runs).buffers).len;
    let len = |step: usize| program.steps[step].output.map_or(0, |value| kept.len(value));
    let concatenating = |run: &&Run| {
        run.sources.len() > 1 && matches!(program.steps[run.step].action, Action::Convolution(_))
    };
    let mut candidates: Vec<usize> = runs.iter().filter(concatenating).map(|run| run.step).collect();
    candidates.sort_by_key(|&step| Reverse(len(step)));
    for step in candidates {
        if let Some(parts) = split(program, &runs, step).filter(|parts| memory(parts) < memory(&runs)) {
            runs = parts;
        }
    }
    runs
}

/// `runs` with all sources of `step` but the first read before that one is computed; `None` if one of them is computed later.
fn split(program: &Program, runs: &[Run], step: usize) -> Option<Vec<Run>> {
    let (&first, others) = program.steps[step].sources.split_first()?;
    let writer = |value| runs.iter().position(|run| program.steps[run.step].output == Some(value));
    let at = writer(first)?;
    if others.iter().any(|&value| writer(value).is_none_or(|other| other > at)) {
        return None;
    }
    let mut parts = runs.to_vec();
    let last = parts.iter_mut().find(|run| run.step == step)?;
    (last.sources, last.first) = (0..1, false);
    parts.insert(at, Run { step, sources: 1..others.len() + 1, first: true, last: false });
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use nnunet_kernels::conv::Precision;
    use nnunet_kernels::layout::BlockedShape;
    use serde_json::json;

    use super::*;
    use crate::program::compile;
    use crate::storage;
    use nnunet_graph::{build, shapes};

    #[test]
    fn the_largest_concatenation_is_computed_in_parts() {
        let kwargs = json!({
            "n_stages": 3, "features_per_stage": [16, 32, 64], "conv_op": "Conv3d", "kernel_sizes": 3,
            "strides": [1, 2, 2], "n_conv_per_stage": 1, "n_conv_per_stage_decoder": 1, "nonlin": "ReLU",
            "norm_op": "InstanceNorm3d"
        });
        let graph = build("PlainConvUNet", &kwargs, 1, 2, true).unwrap();
        let program = compile(&graph).unwrap();
        let nodes = shapes::infer(&graph, [1, 1, 16, 16, 16]).unwrap();
        let shape = |s: [usize; 5]| BlockedShape { batch: s[0], channels: s[1], spatial: [s[2], s[3], s[4]] };
        let values: Vec<BlockedShape> = program.values.iter().map(|v| shape(nodes[v.node.0])).collect();
        let kept = Kept { shapes: &values, storage: &storage::choose(&program, Precision::Fast) };
        let runs = choose(&program, kept, true);
        let names: Vec<(&str, Range<usize>)> = runs
            .iter()
            .map(|run| (graph.node(program.steps[run.step].node).name.as_str(), run.sources.clone()))
            .collect();
        let (transposed, conv) = ("decoder.transpconvs.1", "decoder.stages.1.convs.0.conv");
        assert_eq!(names[5..8], [(conv, 1..2), (transposed, 0..1), (conv, 0..1)], "{names:?}");
        assert_eq!(names.iter().filter(|(name, _)| *name == "decoder.stages.0.convs.0.conv").count(), 1);

        let large = 16 * 16 * 16 * 16;
        let memory =
            |runs: &[Run]| memory_plan::assign(&lifetimes::inference(&program, kept, runs).buffers).len;
        // The skip connection and its part of the result; the upsampled value fills the place of the first.
        assert_eq!(memory(&runs), 2 * large + 2 * large / 8);
        assert_eq!(memory(&choose(&program, kept, false)), 3 * large);
    }
}
