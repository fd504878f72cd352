//! SIMD kernels for convolutional networks on plain `f32` slices, with scalar versions as the definition of what is right.
//!
//! # Conventions
//! - Axis order is (n, c, z, y, x); a 2-D network has z = 1 and kernels, strides and pools of size 1 along z.
//! - Activations live in the *blocked* layout `[n][c/16][z][y][x][16]` ([`layout::LANES`] = 16). Channels are padded with
//!   zeros to a multiple of 16; every kernel keeps the padding lanes of what it writes at zero.
//! - What a kernel reads of activations can be bf16 instead of f32 ([`Values`]): it is widened on load, and everything is computed in
//!   f32, but for products of [`conv::Algorithm::DirectBf16`]. So can outputs ([`ValuesMut`]), which are
//!   rounded at last, after their statistics have been taken. Gradients are f32.
//! - Per-(sample, channel) vectors (scale, shift, mean, variance) have `n * padded_channels` entries, index
//!   `n * padded_channels + c`. Per-channel parameters (bias, gamma, beta) and weights are in PyTorch's natural, unpadded layout.
//! - A convolution writes its *raw* output. Instance norm and LeakyReLU of the producing layer are applied when the next kernel
//!   loads it: that is what [`conv::Source`] with its [`conv::Affine`] says: `value = leaky(x * scale + shift)`. Zero padding of a
//!   convolution happens after the activation.
//! - A convolution takes a list of sources: their channels are concatenated without copying. Each source is padded to whole
//!   blocks of its own.
//! - Every function takes a [`Context`] (instruction set level, thread pool, per-thread scratch). For a given level and thread count
//!   two runs are bit-identical; the work is cut by shape alone and partial sums are merged in a fixed order, so the thread
//!   count does not change the result either.
//! - Infinities, NaN and denormal numbers are computed with as PyTorch does; nothing is flushed to zero but by
//!   products of bf16. A slope of 0 is ReLU, which makes 0 of -inf. In weight gradients the zeros around the image can count, so
//!   that an infinity at its border can become NaN. What transforms do with infinities and NaN is said in [`conv::winograd`].
//! - Wrong lengths or shapes outside of what a kernel supports are [`KernelError`]s; nothing panics on them. `grad_*` outputs are
//!   overwritten unless a [`conv::GradientTarget`] says [`conv::WriteMode::Accumulate`].
//!
//! # Map
//! | what | forward | backward |
//! |---|---|---|
//! | convolution | [`conv::forward`] with [`conv::ForwardWeights`] | [`conv::backward_data`] with [`conv::DataWeights`], [`conv::backward_weights`] |
//! | first layer, few input channels in plain layout | [`first_layer::forward`] | [`first_layer::backward_weights`] |
//! | transposed convolution, kernel = stride | [`transposed::forward`] | [`transposed::backward_data`], [`transposed::backward_weights`] |
//! | head, 1x1x1 to few channels in plain layout | [`head::forward`] | [`head::backward_data`], [`head::backward_weights`] |
//! | instance, batch, group norm | statistics from the convolution or [`norm::statistics`], [`norm::merge_statistics`], then [`norm::scale_shift`] | [`norm::backward`] |
//! | activation, residual | [`activation::apply`], [`activation::add`] | [`activation::leaky_relu_backward`], [`activation::accumulate`] |
//! | GELU | [`gelu::forward`] | [`gelu::backward`] |
//! | average pooling, kernel = stride | [`pooling::average_forward`] | [`pooling::average_backward`] |
//!
//! Weights are packed once per optimiser step: `ForwardWeights::new(&shape)` allocates, `pack(&ctx, natural)` fills and may be
//! called again and again without allocating. `ForwardWeights::with_algorithm(&shape, algorithm)` with the algorithm that
//! [`conv::choose`] names makes the same calls use a Winograd convolution where that is faster.
#![warn(unsafe_code)]

pub mod activation;
mod bf16;
mod context;
pub mod conv;
mod cpu_level;
mod error;
pub mod exponential;
pub mod first_layer;
pub mod gelu;
pub mod head;
pub mod layout;
mod memory;
pub mod norm;
pub mod peak;
mod pool;
pub mod pooling;
pub mod scalar;
mod shelf;
mod simd;
pub mod transposed;
mod values;

pub use context::Context;
pub use cpu_level::CpuLevel;
pub use error::KernelError;
pub use pool::Pool;
pub use values::{Values, ValuesMut};
