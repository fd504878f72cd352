//! Which algorithm a convolution uses, and the rule that chooses it.

use super::ConvShape;
use super::direct::micro::Words;
use super::winograd::Variant;
use crate::CpuLevel;
use crate::layout::LANES;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Sums over all taps.
    Direct,
    /// The same with sources (normalised and activated) and weights rounded to bf16. Sums are f32, and so is the weight gradient.
    DirectBf16,
    /// Products in a transform domain; kernels 3x3x3 and 1x3x3 of stride 1 only.
    Winograd(Variant),
}

/// What a caller asks of the arithmetic. Sums are f32; with [`Precision::Bf16`] what they are made of can have fewer digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Direct sums only.
    Exact,
    /// Winograd where it is faster and its error is that of direct sums ([`Variant::W1`], [`Variant::W2`], [`Variant::W2Z`]).
    #[default]
    Fast,
    /// The same, and [`Variant::W4`] where that is faster still: its error is some four times that of direct sums.
    Relaxed,
    /// Networks keep activations as bf16: half the memory, an error of up to 2^-9 of each value. Algorithms as for
    /// [`Precision::Fast`], and [`Algorithm::DirectBf16`] where the CPU multiplies bf16 and that is faster.
    Bf16,
}

/// How often weights change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightsUse {
    /// Packed once: inference.
    Fixed,
    /// Packed again for every call: training.
    Changing,
}

impl Algorithm {
    /// Whether the algorithm can compute this convolution.
    pub fn supports(self, shape: &ConvShape) -> bool {
        match self {
            Self::Direct | Self::DirectBf16 => true,
            Self::Winograd(Variant::W2Z) => shape.stride == [1, 1, 1] && shape.kernel == [3, 3, 3],
            Self::Winograd(_) => shape.stride == [1, 1, 1] && matches!(shape.kernel, [1 | 3, 3, 3]),
        }
    }

    /// Packed weights per pair of channels.
    pub(crate) fn packed_taps(self, kernel: [usize; 3]) -> usize {
        match self {
            Self::Direct | Self::DirectBf16 => kernel.iter().product(),
            Self::Winograd(variant) => variant.taps(kernel[0]) * variant.points(),
        }
    }

    /// Words of 32 bits of the packed weights of a convolution, padded to whole blocks of channels.
    pub fn packed_len(self, shape: &ConvShape) -> usize {
        let in_words = shape.in_blocks() * self.words().of_block();
        self.packed_taps(shape.kernel) * in_words * shape.out_blocks() * LANES
    }

    /// What its weights are packed as.
    pub(crate) fn words(self) -> Words {
        if self == Self::DirectBf16 { Words::Bf16 } else { Words::F32 }
    }

    /// Estimated time to pack the weights of a convolution, in clock cycles of one core: for 16 words 35 (direct sums) or 60, measured
    /// with 256 x 256 channels and one thread at level AVX2 (1.1 ms direct, 4.4 ms W2, 5.5 ms W2Z; AVX-512 takes a third less for the
    /// latter two). Pairs of bf16 are taken to cost 60 too.
    pub fn packing_cycles(self, shape: &ConvShape) -> f64 {
        let cycles = match self {
            Self::Direct => 35.0,
            Self::DirectBf16 | Self::Winograd(_) => 60.0,
        };
        self.packed_len(shape) as f64 / LANES as f64 * cycles
    }

    /// Estimated time of one call with packed weights, in clock cycles of one AVX-512 core.
    ///
    /// The products of one tap or point for 16 x 16 channels take 16 cycles in a direct sum and a third more in the transform
    /// domain; the transforms of one tile of 16 channels take 100 cycles (W1), 300 (W2) or 700 (W4), forward and back. Measured with one
    /// thread, in nominal GFLOP/s of forward passes (direct, W1, W2): 110, 194, 252 for 32 channels at 40x56x40, 119, 185, 209 for
    /// 128 at 10x14x10, 116, 131, 124 for 256 at 5x7x5, 113, 109, 132 for 320 at 4x4x4.
    ///
    /// W2Z saves a third of the products of W2; to form and take apart its pairs of planes costs 600 cycles for a tile of a plane and
    /// a pair of blocks of 16 and 32 channels, from what it gains at AVX2: 0 to 10 % for 32 channels, 10 to 50 % for 64 and 128.
    pub fn cycles(self, shape: &ConvShape) -> f64 {
        let [depth, height, width] = shape.input;
        let (blocks, out_blocks) = (shape.in_blocks() as f64, shape.out_blocks() as f64);
        let layers = match self {
            Self::Winograd(variant) => depth.next_multiple_of(variant.planes()),
            Self::Direct | Self::DirectBf16 => depth,
        };
        let planes = (shape.batch * layers) as f64;
        let taps_z = shape.kernel[0] as f64;
        let columns = width.div_ceil(4) as f64;
        // Taps outside of the image are skipped along y, not along x.
        let direct = (height * width * 9) as f64 * (1.0 - 2.0 / (3.0 * height as f64));
        let (products, transforms) = match self {
            Self::Direct => (direct, 0.0),
            Self::DirectBf16 => (direct / 2.0, 0.0),
            Self::Winograd(variant) => {
                let tiles = height.div_ceil(variant.rows()) as f64 * columns;
                let taps = (variant.points() * variant.taps(shape.kernel[0])) as f64;
                let per_tap = 1.33 * tiles * taps / (taps_z * variant.planes() as f64);
                let transforms = match variant {
                    Variant::W1 => 100.0,
                    Variant::W2 => 300.0,
                    Variant::W4 => 700.0,
                    Variant::W2Z => 300.0 + 300.0 * blocks * out_blocks / (blocks + out_blocks),
                };
                (per_tap, tiles * transforms)
            }
        };
        planes * (products * taps_z * 16.0 * blocks * out_blocks + transforms * (blocks + out_blocks))
    }
}

/// Most pairs of blocks of channels for which planes are transformed in pairs: 256 to 128 channels.
const MOST_W2Z: usize = 128;

/// The algorithm for the forward pass and the data gradient of a convolution: the one with the lowest estimated time.
pub fn choose(shape: &ConvShape, precision: Precision, weights: WeightsUse, level: CpuLevel) -> Algorithm {
    let pairs =
        (precision == Precision::Bf16 && level == CpuLevel::Avx512Bf16).then_some(Algorithm::DirectBf16);
    cheapest(shape, precision, weights, MOST_W2Z, pairs)
}

/// The algorithm for the weight gradient of a convolution.
pub fn choose_weight_gradient(shape: &ConvShape, precision: Precision) -> Algorithm {
    cheapest(shape, precision, WeightsUse::Changing, usize::MAX, None)
}

/// The algorithm with the lowest estimated time, `other` included; the weights of W2Z's 96 points for more than `most_w2z` pairs of
/// blocks of channels would take more memory and be read too often: measured, 7 % lost to 10 % won.
fn cheapest(
    shape: &ConvShape,
    precision: Precision,
    weights: WeightsUse,
    most_w2z: usize,
    other: Option<Algorithm>,
) -> Algorithm {
    let variants = match precision {
        Precision::Exact => &[][..],
        Precision::Fast | Precision::Bf16 => &[Variant::W2Z, Variant::W2, Variant::W1],
        Precision::Relaxed => &[Variant::W2Z, Variant::W2, Variant::W1, Variant::W4],
    };
    let winograd = variants.iter().copied().map(Algorithm::Winograd);
    let candidates = [Algorithm::Direct].into_iter().chain(other).chain(winograd);
    let fits = |algorithm: &Algorithm| {
        *algorithm != Algorithm::Winograd(Variant::W2Z) || shape.in_blocks() * shape.out_blocks() <= most_w2z
    };
    let cost = |algorithm: Algorithm| match weights {
        WeightsUse::Fixed => algorithm.cycles(shape),
        WeightsUse::Changing => algorithm.cycles(shape) + algorithm.packing_cycles(shape),
    };
    let supported = candidates.filter(|algorithm| algorithm.supports(shape) && fits(algorithm));
    supported.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(Algorithm::Direct)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: CpuLevel = CpuLevel::Avx512Bf16;

    fn shape(
        batch: usize,
        input: [usize; 3],
        sources: &[usize],
        out: usize,
        kernel: [usize; 3],
    ) -> ConvShape {
        ConvShape::new(batch, input, sources, out, kernel, [1, 1, 1]).unwrap()
    }

    #[test]
    fn large_layers_are_transformed_and_deep_ones_in_training_are_not() {
        let (w2, w2z) = (Algorithm::Winograd(Variant::W2), Algorithm::Winograd(Variant::W2Z));
        let fast = |shape: &ConvShape, weights| choose(shape, Precision::Fast, weights, LEVEL);
        for (shape, expected) in [
            (shape(2, [40, 56, 40], &[32, 32], 32, [3, 3, 3]), w2z),
            (shape(2, [10, 14, 10], &[128, 128], 128, [3, 3, 3]), w2z),
            (shape(1, [128, 128, 128], &[32], 32, [3, 3, 3]), w2z),
            (shape(1, [16, 16, 16], &[256], 256, [3, 3, 3]), w2),
            (shape(12, [1, 64, 64], &[256], 256, [1, 3, 3]), w2),
        ] {
            assert_eq!(fast(&shape, WeightsUse::Fixed), expected, "{shape:?}");
            assert_eq!(fast(&shape, WeightsUse::Changing), expected, "{shape:?}");
            assert_eq!(choose(&shape, Precision::Exact, WeightsUse::Fixed, LEVEL), Algorithm::Direct);
        }
        let deep = shape(1, [4, 4, 4], &[320], 320, [3, 3, 3]);
        assert_eq!(fast(&deep, WeightsUse::Fixed), w2);
        assert_eq!(fast(&deep, WeightsUse::Changing), Algorithm::Direct);
    }

    #[test]
    fn other_kernels_and_strides_are_direct() {
        for (kernel, stride) in [([3, 3, 3], [2, 2, 2]), ([1, 1, 1], [1, 1, 1]), ([5, 3, 3], [1, 1, 1])] {
            let shape = ConvShape::new(1, [64, 64, 64], &[32], 32, kernel, stride).unwrap();
            assert_eq!(choose(&shape, Precision::Fast, WeightsUse::Fixed, LEVEL), Algorithm::Direct);
        }
    }

    #[test]
    fn products_are_bf16_where_that_is_asked_for_and_faster_than_transforms() {
        let strided = ConvShape::new(2, [40, 56, 40], &[32], 64, [3, 3, 3], [2, 2, 2]).unwrap();
        let deep = shape(2, [5, 7, 5], &[256], 256, [3, 3, 3]);
        let large = shape(2, [40, 56, 40], &[32], 32, [3, 3, 3]);
        let chosen = |shape, precision, level| choose(shape, precision, WeightsUse::Changing, level);
        for shape in [&strided, &deep] {
            assert_eq!(chosen(shape, Precision::Bf16, LEVEL), Algorithm::DirectBf16);
            assert_eq!(chosen(shape, Precision::Bf16, CpuLevel::Avx512), Algorithm::Direct);
            assert_eq!(chosen(shape, Precision::Fast, LEVEL), Algorithm::Direct);
            assert_ne!(choose_weight_gradient(shape, Precision::Bf16), Algorithm::DirectBf16);
        }
        assert_eq!(chosen(&large, Precision::Bf16, LEVEL), Algorithm::Winograd(Variant::W2Z));
    }
}
