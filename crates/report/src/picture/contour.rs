//! Where labels meet, along the edges of pixels.

use std::fmt::Write;

/// An SVG path along every edge between pixels of different labels, in units of pixels. `labels` are rows of `width`; beyond the
/// borders is background, so that what is cut off is closed there.
pub(super) fn contour(labels: &[f32], width: usize) -> String {
    let height = labels.len() / width.max(1);
    let label = |row: Option<usize>, column: Option<usize>| match (row, column) {
        (Some(row), Some(column)) if row < height && column < width => labels[row * width + column],
        _ => 0.0,
    };
    let mut path = String::new();
    for row in 0..=height {
        runs(
            width,
            |x| label(row.checked_sub(1), Some(x)) != label(Some(row), Some(x)),
            |from, to| {
                let _ = write!(path, "M{from} {row}h{}", to - from);
            },
        );
    }
    for column in 0..=width {
        runs(
            height,
            |y| label(Some(y), column.checked_sub(1)) != label(Some(y), Some(column)),
            |from, to| {
                let _ = write!(path, "M{column} {from}v{}", to - from);
            },
        );
    }
    path
}

/// Calls `visit` with beginning and end of every run of places below `length` for which `set` holds.
fn runs(length: usize, set: impl Fn(usize) -> bool, mut visit: impl FnMut(usize, usize)) {
    let mut start = None;
    for at in 0..=length {
        match (start, at < length && set(at)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                visit(from, at);
                start = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contours_follow_the_edges_of_pixels() {
        // One pixel in the middle of three by three.
        let mut labels = [0.0; 9];
        labels[4] = 1.0;
        assert_eq!(contour(&labels, 3), "M1 1h1M1 2h1M1 1v1M2 1v1");
        // Two labels side by side, cut off by the border: closed there, with an edge between them.
        assert_eq!(contour(&[1.0, 2.0], 2), "M0 0h2M0 1h2M0 0v1M1 0v1M2 0v1");
        assert_eq!(contour(&[0.0; 4], 2), "");
        assert_eq!(contour(&[], 0), "");
    }
}
