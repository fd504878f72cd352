//! Value and gradient of each loss by name on one output of 2 x 3 x 64 x 96 x 96, with labels that are a few balls.
//!
//! Prints `NAME seconds N ratio N`, the median of five repetitions after one warm-up, with the ratio to the default loss in
//! the same run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use nnunet_base::parts::Choice;
use nnunet_exec_cpu::loss::host_loss;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{LabelBatch, LossFacts, RegionBatch, Target, Targets, losses};

const SHAPE: [usize; 5] = [2, 3, 64, 96, 96];

fn labels() -> LabelBatch {
    let [n, _, z, y, x] = SHAPE;
    let label = |i: usize| {
        let (a, b, c) = (i / (x * y) % z, i / x % y, i % x);
        let away =
            |p: usize, q: usize, r: usize| a.abs_diff(p).pow(2) + b.abs_diff(q).pow(2) + c.abs_diff(r).pow(2);
        if away(20, 30, 40) < 300 { 1 } else { i16::from(away(45, 60, 50) < 400) * 2 }
    };
    LabelBatch { shape: [n, z, y, x], data: (0..n * z * y * x).map(label).collect() }
}

fn regions(labels: &LabelBatch) -> RegionBatch {
    let [n, z, y, x] = labels.shape;
    let of = |(sample, region): (usize, i16)| labels.sample(sample).iter().map(move |&l| l >= region);
    let data = (0..n).flat_map(|sample| (0..3).map(move |region| (sample, region))).flat_map(of).collect();
    RegionBatch { shape: [n, 3, z, y, x], data }
}

fn main() {
    let mut logits = Tensor::zeros(SHAPE);
    for (i, z) in logits.data.iter_mut().enumerate() {
        *z = (i.wrapping_mul(2_654_435_761) % 4096) as f32 / 512.0 - 4.0;
    }
    let labels = labels();
    let regions = regions(&labels);
    let batches = [Targets::new(vec![Target::Labels(labels)]), Targets::new(vec![Target::Regions(regions)])];
    for (kind, targets) in ["labels", "regions"].into_iter().zip(&batches) {
        let facts = LossFacts {
            regions: kind == "regions",
            ignore_label: None,
            batch_dice: true,
            classes: 3,
            outputs: 1,
        };
        let mut default = None;
        for (name, _, build) in losses().iter() {
            let Ok(spec) = build(&mut Choice::new(name).reader(name), &facts) else { continue };
            let loss = host_loss(&spec);
            let mut times: Vec<f64> = (0..6)
                .map(|_| {
                    let start = Instant::now();
                    loss.value_and_gradient(std::slice::from_ref(&logits), targets).unwrap();
                    start.elapsed().as_secs_f64()
                })
                .skip(1)
                .collect();
            times.sort_by(f64::total_cmp);
            let seconds = times[times.len() / 2];
            let ratio = seconds / *default.get_or_insert(seconds);
            println!("{name} of {kind} seconds {seconds:.4} ratio {ratio:.2}");
        }
    }
}
