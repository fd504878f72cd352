//! Sizes of a convolution.

use crate::KernelError;
use crate::error::check_range;
use crate::layout::{BlockedShape, blocks};

/// A convolution: sizes of its inputs, kernel and stride. Padding is (k - 1) / 2 on every axis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Samples.
    pub batch: usize,
    /// Input voxels (z, y, x).
    pub input: [usize; 3],
    /// Channels of each concatenated source; every source is padded to whole blocks of its own.
    pub source_channels: Vec<usize>,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel (z, y, x), each 1 to 7.
    pub kernel: [usize; 3],
    /// Stride (z, y, x), each 1 to 4.
    pub stride: [usize; 3],
}

impl ConvShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] names the size that no kernel supports.
    pub fn new(
        batch: usize,
        input: [usize; 3],
        source_channels: &[usize],
        out_channels: usize,
        kernel: [usize; 3],
        stride: [usize; 3],
    ) -> Result<Self, KernelError> {
        let shape =
            Self { batch, input, source_channels: source_channels.to_vec(), out_channels, kernel, stride };
        shape.check()?;
        Ok(shape)
    }

    /// What [`Self::new`] checks. Every kernel begins with it, since fields can be written by hand.
    pub(crate) fn check(&self) -> Result<(), KernelError> {
        const POSITIVE: &str = "1 to 2^20";
        check_range("batch", self.batch, 1..=1 << 20, POSITIVE)?;
        check_range("number of sources", self.source_channels.len(), 1..=1 << 10, "1 to 1024")?;
        check_range("out_channels", self.out_channels, 1..=1 << 20, POSITIVE)?;
        for &channels in &self.source_channels {
            check_range("source channels", channels, 1..=1 << 20, POSITIVE)?;
        }
        for axis in 0..3 {
            let (input, kernel) = (self.input[axis], self.kernel[axis]);
            check_range("input size", input, 1..=1 << 20, POSITIVE)?;
            check_range("kernel size", kernel, 1..=7, "1 to 7")?;
            check_range("stride", self.stride[axis], 1..=4, "1 to 4")?;
            // An even kernel is not padded to its full size, so it can be larger than the padded image.
            let room = input + 2 * ((kernel - 1) / 2);
            check_range("padded input size", room, kernel..=usize::MAX, "at least the kernel size")?;
        }
        check_values("input", self.batch, self.in_blocks(), self.input)?;
        check_values("output", self.batch, self.out_blocks(), self.output().spatial)
    }

    /// Padding (z, y, x).
    pub fn padding(&self) -> [usize; 3] {
        self.kernel.map(|kernel| (kernel - 1) / 2)
    }

    /// Shape of the output.
    pub fn output(&self) -> BlockedShape {
        let padding = self.padding();
        let spatial = std::array::from_fn(|axis| {
            (self.input[axis] + 2 * padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        });
        BlockedShape { batch: self.batch, channels: self.out_channels, spatial }
    }

    /// Shape of source `index`.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn source(&self, index: usize) -> BlockedShape {
        BlockedShape { batch: self.batch, channels: self.source_channels[index], spatial: self.input }
    }

    /// Input channels of all sources, padding not counted.
    pub fn in_channels(&self) -> usize {
        self.source_channels.iter().sum()
    }

    /// Input blocks of all sources.
    pub fn in_blocks(&self) -> usize {
        self.source_channels.iter().map(|channels| blocks(*channels)).sum()
    }

    /// Output blocks.
    pub fn out_blocks(&self) -> usize {
        blocks(self.out_channels)
    }

    /// Number of kernel taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Values of the natural weights `[co][ci][kz][ky][kx]`.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.in_channels() * self.taps()
    }

    /// Floating point operations of one forward pass (a multiplication and an addition per tap, taps in the padding counted).
    pub fn flops(&self) -> f64 {
        let output = self.output();
        2.0 * (output.batch * output.voxels()) as f64 * self.weights_len() as f64
    }
}

/// A tensor has to be addressable, with room to spare for index arithmetic.
pub(crate) fn check_values(
    what: &'static str,
    batch: usize,
    blocks: usize,
    spatial: [usize; 3],
) -> Result<(), KernelError> {
    let values = spatial
        .iter()
        .try_fold(batch, |product, size| product.checked_mul(*size))
        .and_then(|product| product.checked_mul(blocks * crate::layout::LANES))
        .filter(|values| *values < isize::MAX as usize / 64);
    match values {
        Some(_) => Ok(()),
        None => Err(KernelError::Unsupported {
            what,
            found: format!("{batch} samples of {blocks} blocks of {spatial:?} voxels"),
            supported: "what fits into the address space",
        }),
    }
}
