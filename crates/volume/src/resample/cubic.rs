//! Cubic B-spline coefficients of an image that continues constantly beyond its ends.
//!
//! The interpolating spline's coefficients c solve `(c[i-1] + 4 c[i] + c[i+1]) / 6 = s[i]`. Solution by one recursion in
//! each direction with the pole z = sqrt(3) - 2 (Unser, Aldroubi, Eden 1993). scipy pads the image by 12 edge values
//! and then assumes a mirror; a mirror behind 12 equal values differs from equal values for ever by z^24 < 2e-14 of the
//! signal, so the sums over the infinite constant ends are taken in closed form here and nothing is padded.

/// Pole of the cubic spline filter, sqrt(3) - 2.
const POLE: f64 = -0.267_949_192_431_122_7;
/// Gain of the filter, (1 - z)(1 - 1/z).
pub(super) const GAIN: f64 = 6.0;
/// Coefficients before sample 0 and after the last one that interpolation can ask for.
pub(super) const MARGIN: usize = 2;

/// Turns samples into coefficients, `width` independent lines side by side.
///
/// `rows` holds `n + 2 * MARGIN` rows of `width` values; rows `MARGIN..MARGIN + n` hold the samples times [`GAIN`] on
/// entry. On return every row holds coefficients.
#[inline(always)]
pub(super) fn coefficients(rows: &mut [f64], n: usize, width: usize) {
    debug_assert_eq!(rows.len(), (n + 2 * MARGIN) * width);
    let start = MARGIN * width;
    let end = (MARGIN + n) * width;
    // Last sample, before the recursion overwrites it: kept in the last row.
    let (body, tail) = rows.split_at_mut(end);
    tail[width..].copy_from_slice(&body[end - width..]);
    let first = &mut body[start..start + width];
    for v in first.iter_mut() {
        *v /= 1.0 - POLE;
    }
    for at in (start + width..end).step_by(width) {
        let (before, here) = body.split_at_mut(at);
        for (v, p) in here[..width].iter_mut().zip(&before[at - width..]) {
            *v += POLE * p;
        }
    }
    // The constant left end has the recursion's first value throughout.
    let (left, samples) = body.split_at_mut(start);
    for row in left.chunks_exact_mut(width) {
        row.copy_from_slice(&samples[..width]);
    }
    // Right end: the recursion approaches its limit a with the difference e shrinking by z each step.
    let last = &mut body[end - width..];
    let (row_n, row_n1) = tail.split_at_mut(width);
    for ((v, n0), n1) in last.iter_mut().zip(row_n).zip(row_n1) {
        let limit = *n1 / (1.0 - POLE);
        let difference = (*v - limit) / (1.0 - POLE * POLE);
        let settled = limit / (1.0 - POLE);
        *v = -POLE * (settled + difference);
        *n0 = -POLE * (settled + POLE * difference);
        *n1 = -POLE * (settled + POLE * POLE * difference);
    }
    for at in (0..end - width).step_by(width).rev() {
        let (here, after) = body.split_at_mut(at + width);
        for (v, next) in here[at..].iter_mut().zip(&after[..width]) {
            *v = POLE * (next - *v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spline_through_the_coefficients_meets_the_samples() {
        for n in [1usize, 2, 3, 17] {
            let samples: Vec<f64> = (0..2 * n).map(|i| ((i * i * 31 + 7) % 101) as f64 - 50.0).collect();
            let mut rows = vec![0.0; 2 * (n + 2 * MARGIN)];
            for (v, s) in rows[2 * MARGIN..].iter_mut().zip(&samples) {
                *v = s * GAIN;
            }
            coefficients(&mut rows, n, 2);
            for i in 0..n + 2 {
                for k in 0..2 {
                    let c = |row: usize| rows[2 * row + k];
                    let value = (c(i) + 4.0 * c(i + 1) + c(i + 2)) / 6.0;
                    let sample = samples[2 * (i.max(1) - 1).min(n - 1) + k];
                    assert!((value - sample).abs() < 1e-12, "n {n}, position {i}: {value} for {sample}");
                }
            }
        }
    }
}
