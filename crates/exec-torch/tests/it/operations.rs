//! Every operation of graphs has its counterpart in libtorch, forward and backward.

use std::collections::BTreeSet;

use nnunet_exec_torch::Arithmetic;
use nnunet_graph::backend::BatchRef;
use nnunet_graph::graph::Operation;

use crate::torch::backend;
use crate::{backends, common};

/// The name of an operation. A new one does not compile here until it has a name, and fails below until a golden network has it.
fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Input { .. } => "input",
        Operation::Convolution { .. } => "convolution",
        Operation::TransposedConvolution { .. } => "transposed convolution",
        Operation::InstanceNorm { .. } => "instance norm",
        Operation::BatchNorm { .. } => "batch norm",
        Operation::GroupNorm { .. } => "group norm",
        Operation::Gelu { .. } => "GELU",
        Operation::Dropout { .. } => "dropout",
        Operation::LeakyRelu { .. } => "leaky ReLU",
        Operation::Concat { .. } => "concatenation",
        Operation::Add { .. } => "sum",
        Operation::AveragePool { .. } => "average pool",
    }
}

/// Operations that [`name`] knows.
const OPERATIONS: usize = 12;

/// The golden networks, which [`backends::small_networks`] holds outputs and gradients to, have all operations but the dropout,
/// which follows.
#[test]
fn the_golden_networks_have_every_operation() {
    let of = |case: &str| {
        let graph = common::case(case).graph(true);
        graph.nodes().iter().map(|node| name(&node.operation)).collect::<BTreeSet<_>>()
    };
    let trained: BTreeSet<_> = common::CASES.into_iter().flat_map(of).collect();
    assert_eq!(trained.len(), OPERATIONS - 1, "{trained:?}");
    assert!(!trained.contains("dropout"));
    assert!(common::DROPOUT_CASES.into_iter().flat_map(of).any(|name| name == "dropout"));
}

/// Dropouts take part in steps, which differ from each other then, and in no evaluation.
#[test]
fn dropouts_are_trained() {
    let Some(backend) = backend(Arithmetic::F32) else { return };
    for name in common::DROPOUT_CASES {
        let case = common::case(name);
        let (graph, image, targets) = (case.graph(true), case.tensor("x"), backends::labels_for(&case));
        let batch = BatchRef { image: &image, targets: &targets };
        let mut session = backends::training(&backend, &graph, 1, backends::optimisers()[0]);
        let rates = 0.0.into();
        let losses: BTreeSet<u64> =
            (0..6).map(|_| session.step(batch, rates).unwrap().loss.to_bits()).collect();
        assert!(losses.len() > 1, "{name}: no step differs");
        assert_eq!(session.evaluate(batch).unwrap(), session.evaluate(batch).unwrap(), "{name}");
        let reports = backends::steps(&mut *session, batch, 20);
        assert!(reports.iter().all(|report| report.gradient_norm > 0.0), "{name}");
        assert!(
            session.export().unwrap().parameters.iter().all(|(_, p)| p.value().iter().all(|v| v.is_finite()))
        );
    }
}
