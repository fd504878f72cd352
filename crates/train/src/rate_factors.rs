//! The factor of each parameter's learning rate, from the groups of a training and from how it is fine-tuned.

use nnunet_base::spelling::closest;
use nnunet_graph::Graph;
use nnunet_recipe::FineTuning;

use super::error::TrainError;
use super::groups::{ParameterGroup, group_factors};

/// The factor of each parameter's learning rate by its index.
#[derive(Debug, Clone, Default)]
pub(super) struct RateFactors {
    /// Empty where all are 1.
    always: Vec<f64>,
    /// The same with everything but the heads frozen.
    heads_only: Vec<f64>,
    /// Epochs at the beginning in which only the heads learn.
    head_epochs: usize,
}

impl RateFactors {
    /// The factors of `graph` for `groups` of parameters and `fine_tuning`.
    ///
    /// # Errors
    /// A prefix or part that no parameter has, a factor that is no rate, and rules under which nothing learns.
    pub(super) fn new(
        graph: &Graph,
        groups: &[ParameterGroup],
        fine_tuning: &FineTuning,
    ) -> Result<Self, TrainError> {
        let mut factors = group_factors(graph, groups)?;
        let names: Vec<&str> = graph.parameters().iter().map(|spec| spec.name.as_str()).collect();
        let is_head = |name: &str| graph.is_head(name);
        for (factor, depth) in factors.iter_mut().zip(depths(&names, &is_head)) {
            *factor *= fine_tuning.rate_decay.powi(depth);
        }
        for part in &fine_tuning.frozen {
            let mut members =
                (0..names.len()).filter(|&index| belongs(names[index], part, &is_head)).peekable();
            if members.peek().is_none() {
                return Err(unknown_part(part, &names));
            }
            members.for_each(|index| factors[index] = 0.0);
        }
        let heads = |(factor, name): (&f64, &&str)| if is_head(name) { *factor } else { 0.0 };
        let heads_only: Vec<f64> = factors.iter().zip(&names).map(heads).collect();
        let learns = |factors: &[f64]| factors.iter().any(|factor| *factor > 0.0);
        if !learns(&factors) || (fine_tuning.head_epochs > 0 && !learns(&heads_only)) {
            let problem = "nothing would learn: every parameter is frozen, or the heads are where head_epochs lets only \
                           them learn";
            return Err(TrainError::ParameterGroup { problem: problem.to_owned() });
        }
        let always = if factors.iter().all(|&factor| factor == 1.0) { Vec::new() } else { factors };
        Ok(Self { always, heads_only, head_epochs: fine_tuning.head_epochs })
    }

    /// The factors in `epoch`, from 0; empty where all are 1.
    pub(super) fn of_epoch(&self, epoch: usize) -> &[f64] {
        if epoch < self.head_epochs { &self.heads_only } else { &self.always }
    }
}

/// Whether the parameter `name` belongs to `part`; see [`FineTuning::frozen`].
fn belongs(name: &str, part: &str, is_head: &dyn Fn(&str) -> bool) -> bool {
    match part {
        "heads" => is_head(name),
        "decoder" => name.starts_with("decoder.") && !is_head(name),
        _ => {
            let mut own = name.split('.');
            part.split('.').all(|pattern| own.next().is_some_and(|own| pattern == "*" || pattern == own))
        }
    }
}

fn unknown_part(part: &str, names: &[&str]) -> TrainError {
    let beginnings = names.iter().flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..dot]));
    let meant = closest(part, beginnings.chain(["encoder", "decoder", "heads"]));
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
    let problem =
        format!("fine_tuning: no parameter of the network belongs to the frozen part {part:?}{meant}");
    TrainError::ParameterGroup { problem }
}

/// How many stages lie between each parameter's and the output: 0 for the heads, 1 for the last stage of the decoder, and so on
/// to the first of the encoder. The heads of all stages are one.
fn depths(names: &[&str], is_head: &dyn Fn(&str) -> bool) -> Vec<i32> {
    let stages: Vec<String> =
        names.iter().map(|name| if is_head(name) { "heads".to_owned() } else { stage(name) }).collect();
    let mut order: Vec<&str> = Vec::new();
    for stage in &stages {
        if !order.contains(&stage.as_str()) {
            order.push(stage);
        }
    }
    let depth = |stage: &String| order.iter().rev().position(|known| known == stage).unwrap_or(0);
    stages.iter().map(|stage| i32::try_from(depth(stage)).unwrap_or(i32::MAX)).collect()
}

/// The stage of a parameter that belongs to no head. The transposed convolution before a stage of the decoder belongs to it.
fn stage(name: &str) -> String {
    let mut parts = name.replace(".transpconvs.", ".stages.");
    if let Some((end, _)) = parts.match_indices('.').nth(2) {
        parts.truncate(end);
    }
    // `encoder.stem.convs` is the stem, whatever it consists of.
    match parts.strip_prefix("encoder.stem.") {
        Some(_) => "encoder.stem".to_owned(),
        None => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = [
        "encoder.stem.convs.0.conv.weight",
        "encoder.stages.0.0.convs.0.conv.weight",
        "encoder.stages.0.1.convs.0.norm.bias",
        "encoder.stages.1.0.convs.0.conv.weight",
        "encoder.stages.10.0.convs.0.conv.weight",
        "decoder.stages.0.convs.0.conv.weight",
        "decoder.stages.1.convs.0.conv.weight",
        "decoder.transpconvs.0.weight",
        "decoder.seg_layers.1.weight",
    ];

    fn is_head(name: &str) -> bool {
        name.starts_with("decoder.seg_layers.")
    }

    #[test]
    fn depth_counts_stages_from_the_output() {
        assert_eq!(depths(&NAMES, &is_head), [6, 5, 5, 4, 3, 2, 1, 2, 0]);
    }

    #[test]
    fn parts_are_matched_name_by_name() {
        let members = |part: &str| -> Vec<usize> {
            (0..NAMES.len()).filter(|&i| belongs(NAMES[i], part, &is_head)).collect()
        };
        assert_eq!(members("encoder"), [0, 1, 2, 3, 4]);
        assert_eq!(members("encoder.stages.1"), [3], "and not stage 10");
        assert_eq!(members("decoder"), [5, 6, 7], "without the heads");
        assert_eq!(members("heads"), [8]);
        assert_eq!(members("decoder.*.0"), [5, 7]);
        assert_eq!(members("encoder.stage"), [0usize; 0]);
        let error = unknown_part("encoder.stage", &NAMES).to_string();
        assert!(error.contains("\"encoder.stage\" (did you mean encoder.stages?)"), "{error}");
    }
}
