//! Transposed convolution with kernel = stride: every input voxel becomes a block of `kernel` output voxels, without overlap.
//! Weights have PyTorch's layout `[ci][co][kz][ky][kx]`.
//!
//! It is the data gradient of a convolution without padding that has the kernel as its stride, and its own data gradient is that
//! convolution; the kernels of the direct convolution do all the work.

use crate::conv::{
    ConvShape, DataWeights, ForwardWeights, GradientTarget, SharedTarget, Source, WriteMode, check_bias,
    direct,
};
use crate::error::{check_length, check_range};
use crate::layout::BlockedShape;
use crate::{Context, KernelError, Values, ValuesMut, activation};

/// The adjoint convolution has no padding, whatever its kernel.
const NO_PADDING: [usize; 3] = [0; 3];

/// Sizes of a transposed convolution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransposedShape {
    /// Samples.
    pub batch: usize,
    /// Input voxels (z, y, x).
    pub input: [usize; 3],
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel and stride (z, y, x), each 1 to 4.
    pub kernel: [usize; 3],
}

impl TransposedShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] names the size that is not supported.
    pub fn new(
        batch: usize,
        input: [usize; 3],
        in_channels: usize,
        out_channels: usize,
        kernel: [usize; 3],
    ) -> Result<Self, KernelError> {
        let shape = Self { batch, input, in_channels, out_channels, kernel };
        shape.check()?;
        Ok(shape)
    }

    /// What [`Self::new`] checks. Every kernel begins with it, since fields can be written by hand.
    fn check(&self) -> Result<(), KernelError> {
        let Self { batch, input, in_channels, out_channels, kernel } = *self;
        for size in kernel {
            check_range("kernel size of a transposed convolution", size, 1..=4, "1 to 4")?;
        }
        ConvShape::new(batch, input, &[in_channels], out_channels, [1; 3], [1; 3])?;
        ConvShape::new(batch, self.output().spatial, &[out_channels], in_channels, [1; 3], [1; 3])?;
        Ok(())
    }

    /// Shape of the input.
    pub fn source(&self) -> BlockedShape {
        BlockedShape { batch: self.batch, channels: self.in_channels, spatial: self.input }
    }

    /// Shape of the output.
    pub fn output(&self) -> BlockedShape {
        let spatial = std::array::from_fn(|axis| self.input[axis] * self.kernel[axis]);
        BlockedShape { batch: self.batch, channels: self.out_channels, spatial }
    }

    /// Number of kernel taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Values of the natural weights `[ci][co][kz][ky][kx]`.
    pub fn weights_len(&self) -> usize {
        self.in_channels * self.out_channels * self.taps()
    }

    /// Floating point operations of one forward pass.
    pub fn flops(&self) -> f64 {
        2.0 * (self.batch * self.source().voxels()) as f64 * self.weights_len() as f64
    }

    /// The convolution whose data gradient this is: kernel = stride over the output, no padding. Natural weights are the same.
    fn adjoint(&self) -> ConvShape {
        ConvShape {
            batch: self.batch,
            input: self.output().spatial,
            source_channels: vec![self.out_channels],
            out_channels: self.in_channels,
            kernel: self.kernel,
            stride: self.kernel,
        }
    }
}

/// Weights packed for both directions of a transposed convolution.
#[derive(Debug, Clone)]
pub struct TransposedWeights {
    forward: DataWeights,
    data: ForwardWeights,
}

impl TransposedWeights {
    /// Allocates for the channels and kernel of `shape`.
    pub fn new(shape: &TransposedShape) -> Self {
        let adjoint = shape.adjoint();
        Self { forward: DataWeights::new(&adjoint), data: ForwardWeights::new(&adjoint) }
    }

    /// Packs natural weights `[ci][co][kz][ky][kx]`. May be called again after every optimiser step; allocates nothing.
    ///
    /// # Errors
    /// If `natural` does not have the length of the weights.
    pub fn pack(&mut self, ctx: &Context, natural: &[f32]) -> Result<(), KernelError> {
        self.forward.pack(ctx, natural)?;
        self.data.pack(ctx, natural)
    }
}

/// Raw output (bias added). `bias` has `out_channels` values.
///
/// # Errors
/// If a length does not fit `shape` or the weights were packed for another one.
pub fn forward<'a>(
    ctx: &Context,
    shape: &TransposedShape,
    source: &Source<'_>,
    weights: &TransposedWeights,
    bias: Option<&[f32]>,
    output: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let output = output.into().shared();
    shape.check()?;
    source.check(&shape.source())?;
    let adjoint = shape.adjoint();
    weights.forward.check(&adjoint)?;
    check_bias(shape.out_channels, bias)?;
    check_length("output", output.len(), shape.output().len())?;
    let targets = std::iter::once(SharedTarget { data: output, mode: WriteMode::Overwrite });
    direct::backward_data(ctx, &adjoint, NO_PADDING, source, &weights.forward, bias, targets);
    Ok(())
}

/// Gradient with respect to the (activated) source.
///
/// # Errors
/// If a length does not fit `shape` or the weights were packed for another one.
pub fn backward_data(
    ctx: &Context,
    shape: &TransposedShape,
    grad_output: &[f32],
    weights: &TransposedWeights,
    grad_source: &mut GradientTarget<'_>,
) -> Result<(), KernelError> {
    shape.check()?;
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    let adjoint = shape.adjoint();
    weights.data.check(&adjoint)?;
    check_length("gradient of the source", grad_source.data.len(), shape.source().len())?;
    let sources = [Source::raw(grad_output)];
    let (weights, target) = (weights.data.0.whole(), grad_source.shared());
    direct::forward(ctx, &adjoint, NO_PADDING, &sources, weights, None, target, None);
    Ok(())
}

/// Gradient with respect to weights (natural `[ci][co][kz][ky][kx]`) and bias (`out_channels`); both are overwritten.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_weights(
    ctx: &Context,
    shape: &TransposedShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_weights: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) -> Result<(), KernelError> {
    shape.check()?;
    source.check(&shape.source())?;
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    check_length("gradient of the weights", grad_weights.len(), shape.weights_len())?;
    check_bias(shape.out_channels, grad_bias.as_deref())?;
    let sources = [Source::raw(grad_output)];
    let mut staging = ctx.staging();
    let values: &[f32] = match *source {
        Source { data: Values::F32(values), affine: None } => values,
        _ => {
            let values = staging.at_least(source.data.len());
            activation::apply(ctx, &shape.source(), source, &mut *values)?;
            values
        }
    };
    direct::backward_weights(ctx, &shape.adjoint(), NO_PADDING, &sources, values, grad_weights);
    if let Some(grad_bias) = grad_bias {
        direct::bias_gradient(ctx, &shape.output(), grad_output, grad_bias);
    }
    Ok(())
}
