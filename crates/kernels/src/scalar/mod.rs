//! The scalar kernels: the definition of what every other kernel has to compute. Plain loops, sums in f64, no threads.
//! Lengths are checked by the public functions that call them; a wrong length panics here.

mod conv;
mod gelu;
mod norm;
mod other;

pub use conv::{bias_gradient, conv_backward_data, conv_backward_weights, conv_forward, materialise};
pub use gelu::{gelu_backward, gelu_forward};
pub use norm::{norm_backward, statistics, statistics_over};
pub use other::{
    average_pool_backward, average_pool_forward, first_layer_backward_weights, first_layer_forward,
    head_backward_data, head_backward_weights, head_forward, transposed_backward_data,
    transposed_backward_weights, transposed_forward,
};
