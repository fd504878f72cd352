//! Clipping of the global gradient norm, as PyTorch's `clip_grad_norm_`.

use crate::parameters::Parameters;

/// Scales all gradients by min(1, `max_norm` / (norm + 1e-6)) and returns the Euclidean norm of all
/// gradients together before that. Sums of squares are f64, in the order of the parameters.
pub fn clip_gradient_norm(parameters: &mut Parameters, max_norm: f64) -> f64 {
    let squares = parameters.iter().filter_map(|(_, p)| p.gradient()).map(sum_of_squares);
    let norm = squares.sum::<f64>().sqrt();
    let factor = (max_norm / (norm + 1e-6)).min(1.0) as f32;
    // A norm that is not a number must reach the weights, as it does in PyTorch; `min` would hide it.
    let factor = if norm.is_nan() { f32::NAN } else { factor };
    if factor != 1.0 {
        for (_, parameter) in parameters.iter_mut() {
            if let Some((_, gradient)) = parameter.value_and_gradient() {
                gradient.iter_mut().for_each(|g| *g *= factor);
            }
        }
    }
    norm
}

/// Sum of squares in f64 over eight interleaved partial sums, so that it vectorises.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut partial = [0f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (p, &v) in partial.iter_mut().zip(chunk) {
            *p += f64::from(v) * f64::from(v);
        }
    }
    partial.iter().sum::<f64>() + rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()
}
