//! A first layer allocates nothing once its context has seen the shape, whatever the number of input channels.
#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use nnunet_kernels::conv::{ConvShape, StatisticsMut};
use nnunet_kernels::{Context, CpuLevel, first_layer};

#[test]
fn only_the_first_call_allocates() {
    for channels in 1..=first_layer::FEW_CHANNELS + 1 {
        // The counter counts those of its own thread.
        let ctx = Context::new(CpuLevel::detect(), 1);
        let shape = ConvShape::new(2, [6, 7, 20], &[channels], 40, [3; 3], [1; 3]).unwrap();
        let image = vec![0.5; shape.source(0).plain_len()];
        let (weights, gradient) = (vec![0.25; shape.weights_len()], vec![1.0; shape.output().len()]);
        let (mut output, mut grad_weights) = (gradient.clone(), weights.clone());
        let vector = shape.output().vector_len();
        let (mut mean, mut variance, mut grad_bias) = (vec![0.0; vector], vec![0.0; vector], vec![0.0; 40]);
        let mut calls = || {
            let statistics = Some(StatisticsMut { mean: &mut mean, variance: &mut variance });
            first_layer::forward(&ctx, &shape, &image, &weights, None, &mut output[..], statistics).unwrap();
            let bias = Some(&mut grad_bias[..]);
            first_layer::backward_weights(&ctx, &shape, &image, &gradient, &mut grad_weights, bias).unwrap();
        };
        assert!(measure(&mut calls).bytes_total > 0);
        let later = measure(&mut calls);
        assert_eq!((later.bytes_total, later.count_total), (0, 0), "{channels} channels: {later:?}");
    }
}
