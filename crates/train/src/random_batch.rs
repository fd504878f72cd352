//! One batch of random numbers, to time a network without its data.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, RegionBatch, Target, Targets};
use rand::{Rng, RngExt};

use super::batch::Batch;
use super::setup::Setup;
use nnunet_augment::random::derive_stream;

/// Random intensities and annotations in the shapes of the training's batches.
pub(super) fn random_batch(setup: &Setup) -> Batch {
    let mut rng = derive_stream(setup.request.seed, &[]);
    let n = setup.configuration.batch_size;
    let [z, y, x] = setup.policy.geometry.patch;
    let shape = [n, setup.graph.input_channels(), z, y, x];
    let data = (0..shape.iter().product::<usize>()).map(|_| rng.random::<f32>()).collect();
    let heads = setup.labels.num_segmentation_heads();
    let targets = &setup.policy.finish.targets;
    let regions = targets.regions.as_ref().map(Vec::len);
    let scales =
        targets.shapes([z, y, x]).into_iter().map(|shape| target(n, shape, heads, regions, &mut rng));
    Batch {
        image: Tensor { shape, data },
        targets: Targets::new(scales.collect()),
        cases: vec!["random numbers".to_owned(); n],
        starts: Vec::new(),
    }
}

/// A target of `n` samples of the shape (z, y, x): labels below `heads`, or membership in `regions`.
fn target(
    n: usize,
    [z, y, x]: [usize; 3],
    heads: usize,
    regions: Option<usize>,
    rng: &mut impl Rng,
) -> Target {
    match regions {
        Some(regions) => {
            let shape = [n, regions, z, y, x];
            let data = (0..shape.iter().product::<usize>()).map(|_| rng.random()).collect();
            Target::Regions(RegionBatch { shape, data })
        }
        None => {
            let shape = [n, z, y, x];
            let largest = heads.saturating_sub(1) as f64;
            let label = |_| (rng.random::<f64>() * largest).round() as i16;
            Target::Labels(LabelBatch {
                shape,
                data: (0..shape.iter().product::<usize>()).map(label).collect(),
            })
        }
    }
}
