//! Arithmetic on tensors, element by element and along axes.

use std::sync::Arc;

use super::call::Argument::{
    Bool, Dtype as Type, Int, Ints, None as Nothing, OptionalDtype, OptionalInt, OptionalInts,
    OptionalTensor, Tensor as One, Tensors,
};
use super::operations::{
    ARGMAX, BINCOUNT, DIV, EQ, EXP, GT, KTH_VALUE, LOG_SIGMOID, LOG_SOFTMAX, MAXIMUM, MUL, MULTIPLY_EACH,
    NEG, NOT, POWER, REPEAT, RESHAPE, SIGMOID, SOFTMAX_BACKWARD, SQRT, SUM_DIM, TO, WHERE,
};
use super::{Dtype, Interface, Tensor, TorchError};

impl Tensor {
    /// Product of elements.
    pub(crate) fn times(&self, other: &Self) -> Result<Self, TorchError> {
        self.one(MUL, &[One(self), One(other)])
    }

    /// Product with a number.
    pub(crate) fn scaled(&self, factor: f64) -> Result<Self, TorchError> {
        self.times(&Self::number(self.interface(), factor)?)
    }

    /// Quotient of elements.
    pub(crate) fn over(&self, other: &Self) -> Result<Self, TorchError> {
        self.one(DIV, &[One(self), One(other)])
    }

    /// Sum over `axes`, which stay with the length 1 if `keep`.
    pub(crate) fn sum(&self, axes: &[i64], keep: bool, dtype: Option<Dtype>) -> Result<Self, TorchError> {
        self.one(SUM_DIM, &[One(self), OptionalInts(Some(axes)), Bool(keep), OptionalDtype(dtype)])
    }

    /// The elements in another shape, a view where possible.
    pub(crate) fn reshape(&self, shape: &[i64]) -> Result<Self, TorchError> {
        self.one(RESHAPE, &[One(self), Ints(shape)])
    }

    /// The tensor repeated along each axis.
    pub(crate) fn repeat(&self, times: &[i64]) -> Result<Self, TorchError> {
        self.one(REPEAT, &[One(self), Ints(times)])
    }

    /// The elements in another type; the same tensor where it has it.
    pub(crate) fn to(&self, dtype: Dtype) -> Result<Self, TorchError> {
        if self.dtype() == Some(dtype) {
            return self.share();
        }
        self.one(
            TO,
            &[One(self), OptionalDtype(Some(dtype)), Nothing, Nothing, Nothing, Bool(false), Nothing],
        )
    }

    /// Logarithm of the softmax along `axis`.
    pub(crate) fn log_softmax(&self, axis: i64) -> Result<Self, TorchError> {
        self.one(LOG_SOFTMAX, &[One(self), Int(axis), Bool(false)])
    }

    /// Gradient by the logits, from that by the probabilities of a softmax along `axis`.
    pub(crate) fn softmax_backward(&self, probabilities: &Self, axis: i64) -> Result<Self, TorchError> {
        self.one(SOFTMAX_BACKWARD, &[One(self), One(probabilities), Int(axis), Type(Dtype::F32)])
    }

    /// e to the power of the elements.
    pub(crate) fn exp(&self) -> Result<Self, TorchError> {
        self.one(EXP, &[One(self)])
    }

    /// Minus the elements.
    pub(crate) fn neg(&self) -> Result<Self, TorchError> {
        self.one(NEG, &[One(self)])
    }

    /// Square roots.
    pub(crate) fn sqrt(&self) -> Result<Self, TorchError> {
        self.one(SQRT, &[One(self)])
    }

    /// The larger of both.
    pub(crate) fn maximum(&self, other: &Self) -> Result<Self, TorchError> {
        self.one(MAXIMUM, &[One(self), One(other)])
    }

    /// The elements to the power of others.
    pub(crate) fn power(&self, exponent: &Self) -> Result<Self, TorchError> {
        self.one(POWER, &[One(self), One(exponent)])
    }

    /// The `k`-th smallest element of a tensor of one axis, counted from 1; what is not a number is the largest.
    pub(crate) fn kth_smallest(&self, k: i64) -> Result<Self, TorchError> {
        let [value, _] = KTH_VALUE.call(self.interface(), &[One(self), Int(k), Int(0), Bool(false)])?;
        Ok(value)
    }

    /// Where both are equal.
    pub(crate) fn equals(&self, other: &Self) -> Result<Self, TorchError> {
        self.one(EQ, &[One(self), One(other)])
    }

    /// Where the first is larger.
    pub(crate) fn exceeds(&self, other: &Self) -> Result<Self, TorchError> {
        self.one(GT, &[One(self), One(other)])
    }

    /// Where the elements are zero.
    pub(crate) fn not(&self) -> Result<Self, TorchError> {
        self.one(NOT, &[One(self)])
    }

    /// Elements of `yes` where this is true, of `no` elsewhere.
    pub(crate) fn choose(&self, yes: &Self, no: &Self) -> Result<Self, TorchError> {
        self.one(WHERE, &[One(self), One(yes), One(no)])
    }

    /// 1 / (1 + e^-x).
    pub(crate) fn sigmoid(&self) -> Result<Self, TorchError> {
        self.one(SIGMOID, &[One(self)])
    }

    /// Logarithm of [`Tensor::sigmoid`].
    pub(crate) fn log_sigmoid(&self) -> Result<Self, TorchError> {
        let [result, _] = LOG_SIGMOID.call(self.interface(), &[One(self)])?;
        Ok(result)
    }

    /// Index of the largest element along the axis of channels, the first of equal ones.
    pub(crate) fn largest_channel(&self) -> Result<Self, TorchError> {
        self.one(ARGMAX, &[One(self), OptionalInt(Some(1)), Bool(true)])
    }

    /// How often each whole number below `count` occurs among the elements of a tensor of one axis.
    pub(crate) fn occurrences(&self, count: i64) -> Result<Self, TorchError> {
        self.one(BINCOUNT, &[One(self), OptionalTensor(None), Int(count)])
    }

    /// Multiplies each of `tensors` by `factor`, a tensor without axes, in place.
    pub(crate) fn multiply_each(
        interface: &Arc<Interface>,
        tensors: &[&Self],
        factor: &Self,
    ) -> Result<(), TorchError> {
        let [] = MULTIPLY_EACH.call(interface, &[Tensors(tensors), One(factor)])?;
        Ok(())
    }
}
