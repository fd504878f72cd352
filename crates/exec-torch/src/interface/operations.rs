//! The operations of libtorch that are used, with their schemas. Single schemas carry no promise of PyTorch's, so the list is
//! fixed, and [`check`](crate::check) runs each of them when the library is opened.
//!
//! Operations whose schema has an argument of the kind `Scalar` cannot be called through the C interface; others stand in:
//! [`Tensor::plus`] for additions, `_prelu_kernel` for leaky ReLUs, numbers as tensors without axes for factors.

use std::sync::Arc;

use super::call::Argument::{
    Bool, Bools, Float, Int, Ints, None as Nothing, OptionalBool, OptionalInts, OptionalTensor,
    Tensor as One, Tensors, Text,
};
use super::{Interface, Operation, Tensor, TorchError};

macro_rules! operations {
    ($($name:ident = $operation:literal $overload:literal ($arguments:literal) -> $results:literal;)*) => {
        $(
            // SAFETY: the schema of PyTorch 2.10 to 2.15, checked against `torch.ops.aten` by tests/python/schemas.py.
            pub(super) const $name: Operation = unsafe { Operation::new($operation, $overload, $arguments, $results) };
        )*

        /// All operations that are used.
        #[cfg(test)]
        pub(crate) const OPERATIONS: &[Operation] = &[$($name,)*];
    };
}

operations! {
    CONVOLUTION = c"aten::convolution" c"" ("ttTvvvbvi") -> 1;
    CONVOLUTION_BACKWARD = c"aten::convolution_backward" c"" ("tttVvvvbvim") -> 3;
    BATCH_NORM = c"aten::native_batch_norm" c"" ("tTTTTbff") -> 3;
    BATCH_NORM_BACKWARD = c"aten::native_batch_norm_backward" c"" ("ttTTTTTbfm") -> 3;
    GROUP_NORM = c"aten::native_group_norm" c"" ("tTTiiiif") -> 3;
    GROUP_NORM_BACKWARD = c"aten::native_group_norm_backward" c"" ("ttttTiiiim") -> 3;
    GELU = c"aten::gelu" c"" ("ts") -> 1;
    GELU_BACKWARD = c"aten::gelu_backward" c"" ("tts") -> 1;
    PRELU = c"aten::_prelu_kernel" c"" ("tt") -> 1;
    PRELU_BACKWARD = c"aten::_prelu_kernel_backward" c"" ("ttt") -> 2;
    DROPOUT = c"aten::native_dropout" c"" ("tfB") -> 2;
    DROPOUT_BACKWARD = c"aten::native_dropout_backward" c"" ("ttf") -> 1;
    CAT = c"aten::cat" c"" ("li") -> 1;
    NARROW = c"aten::narrow" c"" ("tiii") -> 1;
    AVERAGE_POOL_3D = c"aten::avg_pool3d" c"" ("tvvvbbN") -> 1;
    AVERAGE_POOL_3D_BACKWARD = c"aten::avg_pool3d_backward" c"" ("ttvvvbbN") -> 1;
    AVERAGE_POOL_2D = c"aten::avg_pool2d" c"" ("tvvvbbN") -> 1;
    AVERAGE_POOL_2D_BACKWARD = c"aten::avg_pool2d_backward" c"" ("ttvvvbbN") -> 1;
    MUL = c"aten::mul" c"Tensor" ("tt") -> 1;
    DIV = c"aten::div" c"Tensor" ("tt") -> 1;
    SUM_DIM = c"aten::sum" c"dim_IntList" ("tVbD") -> 1;
    RESHAPE = c"aten::reshape" c"" ("tv") -> 1;
    REPEAT = c"aten::repeat" c"" ("tv") -> 1;
    TO = c"aten::_to_copy" c"" ("tDNNNbN") -> 1;
    LOG_SOFTMAX = c"aten::_log_softmax" c"" ("tib") -> 1;
    SOFTMAX_BACKWARD = c"aten::_softmax_backward_data" c"" ("ttid") -> 1;
    EXP = c"aten::exp" c"" ("t") -> 1;
    NEG = c"aten::neg" c"" ("t") -> 1;
    SQRT = c"aten::sqrt" c"" ("t") -> 1;
    MAXIMUM = c"aten::maximum" c"" ("tt") -> 1;
    EQ = c"aten::eq" c"Tensor" ("tt") -> 1;
    GT = c"aten::gt" c"Tensor" ("tt") -> 1;
    NOT = c"aten::logical_not" c"" ("t") -> 1;
    WHERE = c"aten::where" c"self" ("ttt") -> 1;
    SIGMOID = c"aten::sigmoid" c"" ("t") -> 1;
    LOG_SIGMOID = c"aten::log_sigmoid_forward" c"" ("t") -> 2;
    ARGMAX = c"aten::argmax" c"" ("tIb") -> 1;
    BINCOUNT = c"aten::bincount" c"" ("tTi") -> 1;
    POWER = c"aten::pow" c"Tensor_Tensor" ("tt") -> 1;
    KTH_VALUE = c"aten::kthvalue" c"" ("tiib") -> 2;
    MULTIPLY_EACH = c"aten::_foreach_mul_" c"Tensor" ("lt") -> 0;
    SGD = c"aten::_fused_sgd_" c"" ("lllffffbbbTT") -> 0;
    ADAM = c"aten::_fused_adam_" c"" ("llllllfffffbbTT") -> 0;
    ADAMW = c"aten::_fused_adamw_" c"" ("llllllfffffbbTT") -> 0;
}

/// How a convolution walks over its input: numbers by spatial axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk<'a> {
    /// Stride.
    pub(crate) stride: &'a [i64],
    /// Zeros at both ends.
    pub(crate) padding: &'a [i64],
    /// Whether it is transposed.
    pub(crate) transposed: bool,
}

/// What a normalisation returns: its result, and the mean and the inverse deviation that the backward pass needs.
pub(crate) struct Normalised {
    /// The result.
    pub(crate) output: Tensor,
    /// Mean of each group.
    pub(crate) mean: Tensor,
    /// Inverse of each group's standard deviation.
    pub(crate) inverse: Tensor,
}

/// Sizes of a group norm: (samples, channels, voxels, groups).
pub(crate) type GroupSizes = [i64; 4];

const ONES: [i64; 3] = [1; 3];
const ZEROS: [i64; 3] = [0; 3];

impl Tensor {
    pub(super) fn one(
        &self,
        operation: Operation,
        arguments: &[super::Argument<'_>],
    ) -> Result<Self, TorchError> {
        let [result] = operation.call(self.interface(), arguments)?;
        Ok(result)
    }

    /// Convolution of (n, c, spatial axes) with a weight.
    pub(crate) fn convolution(
        &self,
        weight: &Self,
        bias: Option<&Self>,
        walk: Walk<'_>,
    ) -> Result<Self, TorchError> {
        let axes = walk.stride.len();
        self.one(
            CONVOLUTION,
            &[
                One(self),
                One(weight),
                OptionalTensor(bias),
                Ints(walk.stride),
                Ints(walk.padding),
                Ints(&ONES[..axes]),
                Bool(walk.transposed),
                Ints(&ZEROS[..axes]),
                Int(1),
            ],
        )
    }

    /// Gradients of a convolution by its input, weight and bias, from that of its result; undefined where not `wanted`.
    pub(crate) fn convolution_backward(
        &self,
        input: &Self,
        weight: &Self,
        bias_size: Option<i64>,
        walk: Walk<'_>,
        wanted: [bool; 3],
    ) -> Result<[Self; 3], TorchError> {
        let axes = walk.stride.len();
        let bias = bias_size.map(|size| [size]);
        CONVOLUTION_BACKWARD.call(
            self.interface(),
            &[
                One(self),
                One(input),
                One(weight),
                OptionalInts(bias.as_ref().map(|size| size.as_slice())),
                Ints(walk.stride),
                Ints(walk.padding),
                Ints(&ONES[..axes]),
                Bool(walk.transposed),
                Ints(&ZEROS[..axes]),
                Int(1),
                Bools(&wanted),
            ],
        )
    }

    /// Normalisation of each channel over all other axes: with the statistics of the batch, which move the running ones by
    /// `momentum`, or with the running ones.
    pub(crate) fn batch_norm(
        &self,
        affine: Option<(&Self, &Self)>,
        running: Option<(&Self, &Self)>,
        of_batch: bool,
        momentum: f64,
        epsilon: f64,
    ) -> Result<Normalised, TorchError> {
        let [output, mean, inverse] = BATCH_NORM.call(
            self.interface(),
            &[
                One(self),
                OptionalTensor(affine.map(|(weight, _)| weight)),
                OptionalTensor(affine.map(|(_, bias)| bias)),
                OptionalTensor(running.map(|(mean, _)| mean)),
                OptionalTensor(running.map(|(_, variance)| variance)),
                Bool(of_batch),
                Float(momentum),
                Float(epsilon),
            ],
        )?;
        Ok(Normalised { output, mean, inverse })
    }

    /// Gradients of [`Tensor::batch_norm`] with the statistics of the batch, by input, weight and bias.
    pub(crate) fn batch_norm_backward(
        &self,
        input: &Self,
        weight: Option<&Self>,
        mean: &Self,
        inverse: &Self,
        epsilon: f64,
        wanted: [bool; 3],
    ) -> Result<[Self; 3], TorchError> {
        BATCH_NORM_BACKWARD.call(
            self.interface(),
            &[
                One(self),
                One(input),
                OptionalTensor(weight),
                OptionalTensor(None),
                OptionalTensor(None),
                OptionalTensor(Some(mean)),
                OptionalTensor(Some(inverse)),
                Bool(true),
                Float(epsilon),
                Bools(&wanted),
            ],
        )
    }

    /// Normalisation of each group of channels of each sample.
    pub(crate) fn group_norm(
        &self,
        affine: Option<(&Self, &Self)>,
        [samples, channels, voxels, groups]: GroupSizes,
        epsilon: f64,
    ) -> Result<Normalised, TorchError> {
        let [output, mean, inverse] = GROUP_NORM.call(
            self.interface(),
            &[
                One(self),
                OptionalTensor(affine.map(|(weight, _)| weight)),
                OptionalTensor(affine.map(|(_, bias)| bias)),
                Int(samples),
                Int(channels),
                Int(voxels),
                Int(groups),
                Float(epsilon),
            ],
        )?;
        Ok(Normalised { output, mean, inverse })
    }

    /// Gradients of [`Tensor::group_norm`] by input, weight and bias.
    pub(crate) fn group_norm_backward(
        &self,
        input: &Self,
        weight: Option<&Self>,
        mean: &Self,
        inverse: &Self,
        [samples, channels, voxels, groups]: GroupSizes,
        wanted: [bool; 3],
    ) -> Result<[Self; 3], TorchError> {
        GROUP_NORM_BACKWARD.call(
            self.interface(),
            &[
                One(self),
                One(input),
                One(mean),
                One(inverse),
                OptionalTensor(weight),
                Int(samples),
                Int(channels),
                Int(voxels),
                Int(groups),
                Bools(&wanted),
            ],
        )
    }

    /// x * (1 + erf(x / sqrt 2)) / 2.
    pub(crate) fn gelu(&self) -> Result<Self, TorchError> {
        self.one(GELU, &[One(self), Text("none")])
    }

    /// Gradient of [`Tensor::gelu`] by its input.
    pub(crate) fn gelu_backward(&self, input: &Self) -> Result<Self, TorchError> {
        self.one(GELU_BACKWARD, &[One(self), One(input), Text("none")])
    }

    /// max(x, 0) + slope * min(x, 0), with a slope of one element in as many axes, of the same type.
    pub(crate) fn leaky_relu(&self, slope: &Self) -> Result<Self, TorchError> {
        self.one(PRELU, &[One(self), One(slope)])
    }

    /// Gradient of [`Tensor::leaky_relu`] by its input: of `input` only the signs matter.
    pub(crate) fn leaky_relu_backward(&self, input: &Self, slope: &Self) -> Result<Self, TorchError> {
        let [gradient, _] = PRELU_BACKWARD.call(self.interface(), &[One(self), One(input), One(slope)])?;
        Ok(gradient)
    }

    /// Zeros at random, scaled so that the mean stays, and where no zeros were set.
    pub(crate) fn dropout(&self, probability: f64) -> Result<[Self; 2], TorchError> {
        DROPOUT.call(self.interface(), &[One(self), Float(probability), OptionalBool(Some(true))])
    }

    /// Gradient of [`Tensor::dropout`] by its input.
    pub(crate) fn dropout_backward(&self, kept: &Self, probability: f64) -> Result<Self, TorchError> {
        let scale = if probability < 1.0 { 1.0 / (1.0 - probability) } else { 0.0 };
        self.one(DROPOUT_BACKWARD, &[One(self), One(kept), Float(scale)])
    }

    /// `parts` one after the other along `axis`; at least one.
    pub(crate) fn cat(interface: &Arc<Interface>, parts: &[&Self], axis: i64) -> Result<Self, TorchError> {
        let [result] = CAT.call(interface, &[Tensors(parts), Int(axis)])?;
        Ok(result)
    }

    /// A view of `length` places from `start` on along `axis`.
    pub(crate) fn narrow(&self, axis: i64, start: i64, length: i64) -> Result<Self, TorchError> {
        self.one(NARROW, &[One(self), Int(axis), Int(start), Int(length)])
    }

    /// Means over blocks, of two or three spatial axes.
    pub(crate) fn average_pool(&self, block: &[i64]) -> Result<Self, TorchError> {
        let axes = block.len();
        let operation = if axes == 2 { AVERAGE_POOL_2D } else { AVERAGE_POOL_3D };
        self.one(
            operation,
            &[One(self), Ints(block), Ints(block), Ints(&ZEROS[..axes]), Bool(false), Bool(true), Nothing],
        )
    }

    /// Gradient of [`Tensor::average_pool`] by its input.
    pub(crate) fn average_pool_backward(&self, input: &Self, block: &[i64]) -> Result<Self, TorchError> {
        let axes = block.len();
        let operation = if axes == 2 { AVERAGE_POOL_2D_BACKWARD } else { AVERAGE_POOL_3D_BACKWARD };
        self.one(
            operation,
            &[
                One(self),
                One(input),
                Ints(block),
                Ints(block),
                Ints(&ZEROS[..axes]),
                Bool(false),
                Bool(true),
                Nothing,
            ],
        )
    }
}
