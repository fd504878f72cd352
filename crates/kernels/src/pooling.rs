//! Average pooling with kernel = stride and no padding; voxels beyond the last whole window are dropped (PyTorch's `ceil_mode=False`).

use crate::conv::{GradientTarget, Source};
use crate::error::{check_length, check_range};
use crate::layout::BlockedShape;
use crate::{Context, KernelError, scalar};

/// Sizes of an average pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Shape of the input.
    pub input: BlockedShape,
    /// Window and stride (z, y, x).
    pub kernel: [usize; 3],
}

impl PoolShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// If a window is 0 or larger than the input.
    pub fn new(input: BlockedShape, kernel: [usize; 3]) -> Result<Self, KernelError> {
        for (window, size) in kernel.iter().zip(input.spatial) {
            check_range("pooling window", *window, 1..=size, "1 to the size of the input")?;
        }
        Ok(Self { input, kernel })
    }

    /// Shape of the output.
    pub fn output(&self) -> BlockedShape {
        let spatial = std::array::from_fn(|axis| self.input.spatial[axis] / self.kernel[axis]);
        BlockedShape { spatial, ..self.input }
    }
}

/// Mean over each window of the (activated) source.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn average_forward(
    ctx: &Context,
    shape: &PoolShape,
    source: &Source<'_>,
    output: &mut [f32],
) -> Result<(), KernelError> {
    source.check(&shape.input)?;
    check_length("output", output.len(), shape.output().len())?;
    let _ = ctx;
    scalar::average_pool_forward(shape, source, output);
    Ok(())
}

/// Gradient with respect to the (activated) source.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn average_backward(
    ctx: &Context,
    shape: &PoolShape,
    grad_output: &[f32],
    grad_source: &mut GradientTarget<'_>,
) -> Result<(), KernelError> {
    check_length("gradient of the output", grad_output.len(), shape.output().len())?;
    check_length("gradient of the source", grad_source.data.len(), shape.input.len())?;
    let _ = ctx;
    scalar::average_pool_backward(shape, grad_output, grad_source);
    Ok(())
}
