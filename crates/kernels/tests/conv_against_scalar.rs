//! Vectorised convolution against the scalar one on random odd shapes, at every CPU level; and reproducibility to the bit.
//! Tolerance: 1e-5 of the sum of the magnitudes of what is added, well above the rounding of f32 sums of this length.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/stored.rs"]
mod stored;
#[path = "common/vector_code.rs"]
mod vector_code;

use common::{Random, assert_close};
use half::bf16;
use nnunet_kernels::conv::{
    Affine, Algorithm, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut,
    WriteMode, backward_data, backward_weights, forward,
};
use nnunet_kernels::layout::{AlignedBuffer, to_blocked};
use nnunet_kernels::{Context, CpuLevel, Values, ValuesMut, scalar};
use proptest::prelude::*;
use stored::{Stored, assert_rounded};

struct Case {
    sources: Vec<Stored>,
    affine: Vec<Option<(Vec<f32>, Vec<f32>)>>,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    gradient: AlignedBuffer,
    /// What gradients are added to, per source.
    before: Vec<AlignedBuffer>,
}

impl Case {
    fn new(ctx: &Context, shape: &ConvShape, seed: u64, bf16: Bf16) -> Self {
        let mut random = Random(seed | 1);
        let mut affine = Vec::new();
        for index in 0..shape.source_channels.len() {
            let source = shape.source(index);
            affine.push((seed >> index & 2 == 0).then(|| {
                let [scale, shift] = random.affine(&source);
                (scale, shift)
            }));
        }
        let all = 0..shape.source_channels.len();
        let as_bf16 = |index: usize| bf16 == Bf16::All || bf16 == Bf16::Second && index == 1;
        let stored = |index: usize, random: &mut Random| {
            Stored::new(random.blocked(ctx, &shape.source(index)), as_bf16(index))
        };
        Self {
            sources: all.clone().map(|index| stored(index, &mut random)).collect(),
            affine,
            weights: random.values(shape.weights_len()),
            bias: (seed & 1 == 0).then(|| random.values(shape.out_channels)),
            gradient: random.blocked(ctx, &shape.output()),
            before: all.map(|index| random.blocked(ctx, &shape.source(index))).collect(),
        }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.sources_as(Stored::data)
    }

    /// The same values as f32.
    fn f32_sources(&self) -> Vec<Source<'_>> {
        self.sources_as(|stored| Values::F32(stored.values()))
    }

    fn sources_as<'a>(&'a self, data: impl Fn(&'a Stored) -> Values<'a>) -> Vec<Source<'a>> {
        let affine = |pair: &'a Option<(Vec<f32>, Vec<f32>)>| -> Option<Affine<'a>> {
            pair.as_ref().map(|(scale, shift)| Affine { scale, shift, negative_slope: 0.01 })
        };
        let sources = self.sources.iter().zip(&self.affine);
        sources.map(|(stored, pair)| Source { data: data(stored), affine: affine(pair) }).collect()
    }
}

/// Which sources are bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bf16 {
    None,
    All,
    Second,
}

struct Results {
    output: AlignedBuffer,
    mean: Vec<f64>,
    variance: Vec<f64>,
    grad_sources: Vec<AlignedBuffer>,
    grad_weights: Vec<f32>,
    grad_bias: Vec<f32>,
}

fn mode(index: usize) -> WriteMode {
    if index % 2 == 1 { WriteMode::Accumulate } else { WriteMode::Overwrite }
}

fn targets(buffers: &mut [AlignedBuffer]) -> Vec<GradientTarget<'_>> {
    buffers.iter_mut().enumerate().map(|(index, data)| GradientTarget { data, mode: mode(index) }).collect()
}

fn run(ctx: &Context, shape: &ConvShape, case: &Case) -> Results {
    let (mut packed, mut packed_data) = (ForwardWeights::new(shape), DataWeights::new(shape));
    packed.pack(ctx, &case.weights).unwrap();
    packed_data.pack(ctx, &case.weights).unwrap();
    let vector = shape.output().vector_len();
    let mut results = Results {
        output: AlignedBuffer::new(shape.output().len()),
        mean: vec![f64::NAN; vector],
        variance: vec![f64::NAN; vector],
        grad_sources: case.before.clone(),
        grad_weights: vec![f32::NAN; shape.weights_len()],
        grad_bias: vec![f32::NAN; shape.out_channels],
    };
    results.output.fill(f32::NAN);
    let statistics = StatisticsMut { mean: &mut results.mean, variance: &mut results.variance };
    let (sources, bias) = (case.sources(), case.bias.as_deref());
    forward(ctx, shape, &sources, &packed, bias, &mut results.output, Some(statistics)).unwrap();
    let (mut rounded, mut mean, mut variance) =
        (vec![0; results.output.len()], vec![f64::NAN; vector], vec![f64::NAN; vector]);
    let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
    let output = ValuesMut::Bf16(&mut rounded);
    forward(ctx, shape, &sources, &packed, bias, output, Some(statistics)).unwrap();
    assert_rounded("output", &rounded, &results.output);
    assert!(mean == results.mean && variance == results.variance, "statistics of what was not rounded");
    backward_data(ctx, shape, &case.gradient, &packed_data, &mut targets(&mut results.grad_sources)).unwrap();
    let grad_bias = Some(&mut results.grad_bias[..]);
    backward_weights(ctx, shape, &sources, &case.gradient, &mut results.grad_weights, grad_bias).unwrap();
    results
}

fn scalar(shape: &ConvShape, case: &Case) -> Results {
    let vector = shape.output().vector_len();
    let mut results = Results {
        output: AlignedBuffer::new(shape.output().len()),
        mean: vec![0.0; vector],
        variance: vec![0.0; vector],
        grad_sources: case.before.clone(),
        grad_weights: vec![0.0; shape.weights_len()],
        grad_bias: vec![0.0; shape.out_channels],
    };
    scalar::conv_forward(
        shape,
        &case.f32_sources(),
        &case.weights,
        case.bias.as_deref(),
        &mut results.output,
    );
    let statistics = StatisticsMut { mean: &mut results.mean, variance: &mut results.variance };
    scalar::statistics(&shape.output(), &results.output, statistics);
    scalar::conv_backward_data(shape, &case.gradient, &case.weights, &mut targets(&mut results.grad_sources));
    scalar::conv_backward_weights(shape, &case.f32_sources(), &case.gradient, &mut results.grad_weights);
    scalar::bias_gradient(&shape.output(), &case.gradient, &mut results.grad_bias);
    results
}

fn check(shape: &ConvShape, seed: u64) {
    check_with(shape, seed, Bf16::None);
}

fn check_with(shape: &ConvShape, seed: u64, bf16: Bf16) {
    let case = Case::new(&Context::new(CpuLevel::Portable, 1), shape, seed, bf16);
    let expected = scalar(shape, &case);
    let terms = (shape.taps() * shape.in_channels().max(shape.out_channels)) as f32;
    let positions = shape.output().voxels() as f32 * shape.batch as f32;
    for level in CpuLevel::available() {
        let found = run(&Context::new(level, 2), shape, &case);
        let what = |part: &str| format!("{part} of {shape:?} at {}", level.name());
        assert_close(&what("output"), &found.output, &expected.output, terms.sqrt());
        for at in 0..found.mean.len() {
            let (mean, variance) = (expected.mean[at], expected.variance[at]);
            assert!((found.mean[at] - mean).abs() <= 1e-5 * f64::from(terms.sqrt()), "{}", what("mean"));
            let error = (found.variance[at] - variance).abs();
            assert!(
                error <= 1e-5 * f64::from(terms),
                "{} {} {variance}",
                what("variance"),
                found.variance[at]
            );
        }
        for (found, expected) in found.grad_sources.iter().zip(&expected.grad_sources) {
            assert_close(&what("grad_source"), found, expected, terms.sqrt());
        }
        assert_close(&what("grad_weights"), &found.grad_weights, &expected.grad_weights, positions.sqrt());
        assert_close(&what("grad_bias"), &found.grad_bias, &expected.grad_bias, positions.sqrt());

        for threads in [1, 2, 3] {
            let again = run(&Context::new(level, threads), shape, &case);
            let same = found.output[..] == again.output[..]
                && found.mean == again.mean
                && found.variance == again.variance
                && found.grad_sources.iter().zip(&again.grad_sources).all(|(a, b)| a[..] == b[..])
                && found.grad_weights == again.grad_weights
                && found.grad_bias == again.grad_bias;
            assert!(same, "{}", what("another result in a second run"));
        }
    }
}

/// Products of bf16 values: the scalar kernel gets sources, weights and gradients that the `half` crate has rounded.
fn check_bf16_products(shape: &ConvShape, seed: u64) {
    let ctx = Context::new(CpuLevel::Portable, 1);
    let case = exact_case(&ctx, shape, seed);
    let round =
        |values: &[f32]| values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect::<Vec<_>>();
    let activated = case.f32_sources().into_iter().enumerate().map(|(index, source)| {
        let shape = shape.source(index);
        let mut blocked = AlignedBuffer::new(shape.len());
        to_blocked(&ctx, &shape, &scalar::materialise(&shape, &source), &mut blocked).unwrap();
        Stored::new(blocked, true)
    });
    let mut gradient = case.gradient.clone();
    gradient.copy_from_slice(&round(&case.gradient));
    let rounded = Case {
        sources: activated.collect(),
        affine: vec![None; case.affine.len()],
        weights: round(&case.weights),
        bias: case.bias.clone(),
        gradient,
        before: case.before.clone(),
    };
    let expected = scalar(shape, &rounded);
    let magnitude = ((shape.taps() * shape.in_channels().max(shape.out_channels)) as f32).sqrt();
    for level in CpuLevel::available() {
        let ctx = Context::new(level, 2);
        let what = |part: &str| format!("{part} of {shape:?} by bf16 products at {}", level.name());
        let mut weights = ForwardWeights::with_algorithm(shape, Algorithm::DirectBf16);
        weights.pack(&ctx, &case.weights).unwrap();
        let bias = case.bias.as_deref();
        let mut output = AlignedBuffer::new(shape.output().len());
        forward(&ctx, shape, &case.sources(), &weights, bias, &mut output, None).unwrap();
        assert_close(&what("output"), &output, &expected.output, magnitude);
        // Whether sources and results are kept as bf16 changes no product.
        let mut other = output.clone();
        forward(&ctx, shape, &case.f32_sources(), &weights, bias, &mut other, None).unwrap();
        assert!(other[..] == output[..], "{}", what("output of f32 sources"));
        let mut bits = vec![0; output.len()];
        forward(&ctx, shape, &case.sources(), &weights, bias, ValuesMut::Bf16(&mut bits), None).unwrap();
        assert_rounded(&what("output"), &bits, &output);

        let mut weights = DataWeights::with_algorithm(shape, Algorithm::DirectBf16);
        weights.pack(&ctx, &case.weights).unwrap();
        let mut found = case.before.clone();
        backward_data(&ctx, shape, &case.gradient, &weights, &mut targets(&mut found)).unwrap();
        for (found, expected) in found.iter().zip(&expected.grad_sources) {
            assert_close(&what("grad_source"), found, expected, magnitude);
        }
    }
}

/// A case of bf16 sources with an affine that every level computes to the same f32 values: one that rounds nothing.
fn exact_case(ctx: &Context, shape: &ConvShape, seed: u64) -> Case {
    let mut case = Case::new(ctx, shape, seed, Bf16::All);
    for (scale, shift) in case.affine.iter_mut().flatten() {
        scale.iter_mut().for_each(|scale| *scale = scale.signum() * 0.5 * f32::from(*scale != 0.0));
        shift.iter_mut().for_each(|shift| *shift = shift.signum() * 0.25 * f32::from(*shift != 0.0));
    }
    case
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let channels = prop_oneof![Just(1_usize), Just(16), Just(17), Just(33), 1_usize..40];
    let sources = prop::collection::vec(channels.clone(), 1..3);
    let axis = || (1_usize..9, 1_usize..8, 1_usize..5);
    let last = (prop_oneof![1_usize..16, Just(26_usize)], 1_usize..8, 1_usize..5);
    let kinds = prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(4)];
    (1_usize..4, sources, channels, (axis(), axis(), last), kinds).prop_filter_map(
        "the kernel does not fit into the image",
        |(batch, sources, out, (z, y, x), kind)| {
            let (mut kernel, mut stride) = ([z.1, y.1, x.1], [z.2, y.2, x.2]);
            let mut input = [z.0, y.0, x.0];
            match kind {
                0 => (kernel, stride) = ([3; 3], [1; 3]),
                1 => (kernel, stride) = ([3; 3], [2; 3]),
                2 => (input[0], kernel, stride) = (1, [1, 3, 3], [1, 2, 2]),
                3 => (kernel, stride) = ([1; 3], [1; 3]),
                // Seven taps along all axes would take the scalar kernel seconds.
                _ => kernel[0] = kernel[0].min(3),
            }
            ConvShape::new(batch, input, &sources, out, kernel, stride)
                .ok()
                .filter(|shape| shape.flops() < 2e7)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn random_shapes(shape in shapes(), seed in any::<u64>()) {
        check(&shape, seed);
    }

    #[test]
    fn random_shapes_of_bf16(
        shape in shapes(), seed in any::<u64>(), bf16 in prop_oneof![3 => Just(Bf16::All), 1 => Just(Bf16::Second)],
    ) {
        check_with(&shape, seed, bf16);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn random_shapes_with_bf16_products(shape in shapes(), seed in any::<u64>()) {
        check_bf16_products(&shape, seed);
    }
}

#[test]
fn several_tiles_chunks_and_groups() {
    // More summed blocks than fit into scratch at once, an odd number of result blocks, rows longer than any microkernel.
    check(&ConvShape::new(1, [3, 5, 27], &[80, 10], 70, [3; 3], [1; 3]).unwrap(), 5);
    check(&ConvShape::new(2, [6, 9, 5], &[96], 96, [3; 3], [2; 3]).unwrap(), 8);
    check(&ConvShape::new(1, [4, 70, 66], &[2], 3, [3; 3], [1; 3]).unwrap(), 12);
    check_with(&ConvShape::new(1, [3, 5, 27], &[80, 10], 70, [3; 3], [1; 3]).unwrap(), 6, Bf16::All);
    check_bf16_products(&ConvShape::new(1, [3, 5, 27], &[80, 10], 70, [3; 3], [1; 3]).unwrap(), 7);
    check_bf16_products(&ConvShape::new(2, [6, 9, 5], &[96], 96, [3; 3], [2; 3]).unwrap(), 8);
}

#[test]
fn kernel_larger_than_the_image() {
    check(&ConvShape::new(1, [1, 2, 3], &[5], 7, [7; 3], [1, 2, 3]).unwrap(), 3);
    check(&ConvShape::new(1, [1, 1, 1], &[17], 1, [3; 3], [1; 3]).unwrap(), 4);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let message = |result: Result<ConvShape, _>| {
        result.map_err(|error: nnunet_kernels::KernelError| error.to_string()).unwrap_err()
    };
    assert_eq!(
        message(ConvShape::new(1, [4; 3], &[1], 1, [9, 1, 1], [1; 3])),
        "kernel size is 9, supported is 1 to 7"
    );
    assert_eq!(
        message(ConvShape::new(1, [4; 3], &[1], 1, [1; 3], [1, 5, 1])),
        "stride is 5, supported is 1 to 4"
    );
    assert!(
        message(ConvShape::new(1, [1; 3], &[1], 1, [2, 1, 1], [1; 3])).contains("padded input size is 1")
    );
    let ctx = Context::new(CpuLevel::detect(), 1);
    let shape = ConvShape::new(1, [2; 3], &[3], 4, [3; 3], [1; 3]).unwrap();
    let weights = ForwardWeights::new(&shape);
    let (source, mut output) = (vec![0.0; 128], vec![0.0; 128]);
    let error =
        forward(&ctx, &shape, &[Source::raw(&source)], &weights, None, &mut output, None).unwrap_err();
    assert!(error.to_string().contains("packed for nothing yet"), "{error}");
    let error =
        forward(&ctx, &shape, &[Source::raw(&source[1..])], &weights, None, &mut output, None).unwrap_err();
    assert_eq!(error.to_string(), "source has 127 values, but the shape asks for 128");
}

#[test]
fn shapes_written_by_hand_are_errors_not_panics() {
    let ctx = Context::new(CpuLevel::detect(), 1);
    let good = ConvShape::new(1, [2; 3], &[3], 4, [3; 3], [1; 3]).unwrap();
    let data = vec![0.0; 128];
    let source = Source::raw(&data);
    for bad in [
        ConvShape { batch: 0, ..good.clone() },
        ConvShape { batch: usize::MAX, ..good.clone() },
        ConvShape { input: [2, 0, 2], ..good.clone() },
        ConvShape { kernel: [3, 0, 3], ..good.clone() },
        ConvShape { kernel: [9, 3, 3], ..good.clone() },
        ConvShape { kernel: [3, 3, 6], input: [2, 2, 1], ..good.clone() },
        ConvShape { stride: [0, 1, 1], ..good.clone() },
        ConvShape { source_channels: Vec::new(), ..good.clone() },
        ConvShape { source_channels: vec![0], ..good.clone() },
        ConvShape { out_channels: 0, ..good.clone() },
    ] {
        let (mut output, mut natural) = (vec![0.0; 128], vec![0.0; 3 * 4 * 27]);
        let mut packed = ForwardWeights::new(&good);
        packed.pack(&ctx, &natural).unwrap();
        forward(&ctx, &bad, &[source], &packed, None, &mut output, None).unwrap_err();
        let mut packed = DataWeights::new(&good);
        packed.pack(&ctx, &natural).unwrap();
        let mut targets = [GradientTarget::overwrite(&mut output)];
        backward_data(&ctx, &bad, &data, &packed, &mut targets).unwrap_err();
        backward_weights(&ctx, &bad, &[source], &data, &mut natural, None).unwrap_err();
    }
}
