//! Which tensors of different networks are the same.
//!
//! In nnU-Net's networks `encoder.stages.0` is full resolution and `decoder.stages.0` is the level above the bottleneck, so
//! that decoders of other depth use one name for other levels. Keys by level name what both networks have: the level, 0 for
//! full resolution, and the role there.

use indexmap::IndexMap;
use nnunet::graph::Graph;

use crate::settings::Matching;

/// The tensors of `graph` that a site shares: key -> canonical name, in the network's order. With `local_norms`,
/// normalisation layers and running statistics stay local.
pub fn shared_keys(graph: &Graph, matching: Matching, local_norms: bool) -> IndexMap<String, String> {
    let names = || graph.tensors().map(|(name, _)| name);
    let stages =
        names().filter_map(|name| indexed(name, "encoder.stages.")).map(|(stage, _)| stage + 1).max();
    let is_statistic = |name: &str| graph.buffers().iter().any(|buffer| buffer.name == name);
    names()
        .filter(|name| !(local_norms && (is_norm(name) || is_statistic(name))))
        .map(|name| match matching {
            Matching::Names => (name.to_owned(), name.to_owned()),
            Matching::Level => (level_key(name, stages.unwrap_or(0)), name.to_owned()),
        })
        .collect()
}

/// The key of a tensor of a network with `stages` stages.
fn level_key(name: &str, stages: usize) -> String {
    if let Some(rest) = name.strip_prefix("encoder.stem.") {
        return format!("level_0/stem/{rest}");
    }
    if let Some((stage, rest)) = indexed(name, "encoder.stages.") {
        return format!("level_{stage}/encoder/{rest}");
    }
    for (prefix, role) in
        [("decoder.stages.", "decoder"), ("decoder.transpconvs.", "up"), ("decoder.seg_layers.", "head")]
    {
        // Stage 0 of a decoder is the level above the bottleneck, which is the last one.
        if let Some((stage, rest)) = indexed(name, prefix)
            && let Some(level) = stages.checked_sub(2 + stage)
        {
            return format!("level_{level}/{role}/{rest}");
        }
    }
    format!("other/{name}")
}

/// The number behind `prefix`, and what follows its dot.
fn indexed<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (number, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// Whether a tensor belongs to a normalisation layer, by the names of nnU-Net's modules.
fn is_norm(name: &str) -> bool {
    name.split('.').any(|part| part.starts_with("norm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_count_from_full_resolution_in_encoder_and_decoder() {
        for (name, stages, expected) in [
            ("encoder.stages.2.0.convs.0.conv.weight", 4, "level_2/encoder/0.convs.0.conv.weight"),
            ("encoder.stem.convs.0.conv.weight", 4, "level_0/stem/convs.0.conv.weight"),
            ("decoder.stages.0.convs.0.conv.weight", 4, "level_2/decoder/convs.0.conv.weight"),
            ("decoder.stages.0.convs.0.conv.weight", 3, "level_1/decoder/convs.0.conv.weight"),
            ("decoder.transpconvs.2.weight", 4, "level_0/up/weight"),
            ("decoder.seg_layers.1.bias", 3, "level_0/head/bias"),
            ("down_projection.weight", 0, "other/down_projection.weight"),
        ] {
            assert_eq!(level_key(name, stages), expected);
        }
        assert!(is_norm("encoder.stages.0.0.convs.0.norm.weight") && is_norm("blocks.0.norm1.bias"));
        assert!(!is_norm("encoder.stages.0.0.convs.0.conv.weight"));
    }
}
