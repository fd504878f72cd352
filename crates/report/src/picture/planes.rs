//! The figure of a case: a slice along each axis, cut to what is segmented and its surroundings.

use maud::{Markup, html};
use nnunet_volume::{SpacingMm, Volume};

use super::contour::contour;
use super::grey::{data_url, grey};
use crate::figure::{Figure, Px};

/// Size of the largest panel.
const PANEL: [f64; 2] = [300.0, 250.0];
const GAP: f64 = 12.0;
const CAPTION: f64 = 22.0;
/// Pixels of a slice along each edge beyond which it is thinned out: more cannot be seen.
const LARGEST: usize = 480;
/// Voxels around what is segmented that are shown at least.
const SURROUNDINGS: usize = 12;

/// Whose contours are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Those of the reference: a solid line.
    Reference,
    /// Those of the prediction: a dashed line.
    Prediction,
}

/// A segmentation that is drawn as contours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline<'a> {
    /// Whose it is.
    pub(crate) role: Role,
    /// Labels (z, y, x) on the grid of the view.
    pub(crate) labels: &'a Volume<f32>,
}

/// What is drawn of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// The image (z, y, x); black without one.
    pub(crate) image: Option<&'a Volume<f32>>,
    /// Shape (z, y, x) of all of it.
    pub(crate) shape: [usize; 3],
    /// Size of a voxel along (z, y, x) in mm.
    pub(crate) spacing: SpacingMm,
    /// The segmentations.
    pub(crate) outlines: &'a [Outline<'a>],
}

/// A slice as it is drawn: rows of pixels.
struct Plane {
    axis: usize,
    slice: usize,
    image: Option<String>,
    width: usize,
    height: usize,
    paths: Vec<(Role, String)>,
    /// Size of a pixel along (rows, columns) in mm.
    pixel: [f64; 2],
}

/// Draws a slice along each axis, or the only one of a flat image: each where most of it is segmented. The axes of
/// volumes are those of the file; z points upwards.
pub(crate) fn draw_planes(view: &View<'_>, name: String, title: String, caption: String) -> Figure {
    let axes: &[usize] = if view.shape[0] == 1 { &[0] } else { &[0, 1, 2] };
    let counts = view.foreground();
    let planes: Vec<Plane> = axes.iter().map(|axis| view.plane(*axis, &counts)).collect();
    let sizes: Vec<[f64; 2]> = planes.iter().map(|plane| plane.extent()).collect();
    // One scale for all planes, so that a millimetre is as long in each.
    let scale = sizes.iter().map(|[h, w]| (PANEL[0] / w).min(PANEL[1] / h)).fold(f64::INFINITY, f64::min);
    let height = sizes.iter().map(|[h, _]| h * scale).fold(0.0, f64::max);
    let (mut x, mut parts) = (0.0, Vec::new());
    for (plane, [h, w]) in planes.iter().zip(&sizes) {
        let [h, w] = [h * scale, w * scale];
        parts.push(plane.draw(x, CAPTION + (height - h) / 2.0, w, h, view.shape[plane.axis]));
        x += w.max(90.0) + GAP;
    }
    let places: Vec<String> = planes
        .iter()
        .map(|plane| {
            format!("{} {} of {}", ["z", "y", "x"][plane.axis], plane.slice + 1, view.shape[plane.axis])
        })
        .collect();
    let contours = match view.outlines {
        [] => "without contours",
        [_] => "with the contours of the reference",
        _ => "with the contours of reference (solid) and prediction (dashed)",
    };
    Figure {
        name,
        alternative: format!("{title}: slices {} {contours}. {caption}", places.join(", ")),
        title,
        caption,
        size: [(x - GAP).max(1.0), height + CAPTION],
        drawing: html! { @for part in &parts { (part) } },
    }
}

impl View<'_> {
    fn is_foreground(&self, voxel: usize) -> bool {
        self.outlines.iter().any(|outline| outline.labels.data()[voxel] != 0.0)
    }

    /// For each axis, how many voxels of every slice are segmented.
    fn foreground(&self) -> [Vec<usize>; 3] {
        let mut counts = self.shape.map(|length| vec![0; length]);
        let [_, height, width] = self.shape;
        for (line, start) in (0..self.shape.iter().product()).step_by(width.max(1)).enumerate() {
            let row = (0..width).filter(|x| self.is_foreground(start + x));
            let in_row = row.inspect(|x| counts[2][*x] += 1).count();
            counts[0][line / height] += in_row;
            counts[1][line % height] += in_row;
        }
        counts
    }

    /// The slice along `axis` of which most is segmented, from the [`foreground`](Self::foreground).
    fn plane(&self, axis: usize, counts: &[Vec<usize>; 3]) -> Plane {
        let most = counts[axis].iter().copied().max().unwrap_or(0);
        let slice = match most {
            0 => self.shape[axis] / 2,
            _ => counts[axis].iter().position(|count| *count == most).unwrap_or(0),
        };
        let [rows, columns] = [[1, 2], [0, 2], [0, 1]][axis];
        let window = |axis: usize| {
            let length = self.shape[axis];
            let Some(first) = counts[axis].iter().position(|count| *count > 0) else { return (0, length) };
            let last = counts[axis].iter().rposition(|count| *count > 0).unwrap_or(first) + 1;
            let room = ((last - first) / 2).max(SURROUNDINGS);
            (first.saturating_sub(room), (last + room).min(length))
        };
        let ((top, bottom), (left, right)) = (window(rows), window(columns));
        let every = (bottom - top).max(right - left).div_ceil(LARGEST).max(1);
        let mut row_numbers: Vec<usize> = (top..bottom).step_by(every).collect();
        if rows == 0 {
            // Heads are above feet.
            row_numbers.reverse();
        }
        let column_numbers: Vec<usize> = (left..right).step_by(every).collect();
        let [_, height, width] = self.shape;
        let cut = |volume: &Volume<f32>| -> Vec<f32> {
            let column_numbers = &column_numbers;
            let pixels = row_numbers.iter().flat_map(|row| {
                column_numbers.iter().map(move |column| {
                    let mut place = [slice; 3];
                    (place[rows], place[columns]) = (*row, *column);
                    let [z, y, x] = place;
                    (z * height + y) * width + x
                })
            });
            pixels.map(|voxel| volume.data()[voxel]).collect()
        };
        let line = column_numbers.len();
        Plane {
            axis,
            slice,
            image: self.image.and_then(|image| data_url(&grey(&cut(image)), line)),
            width: line,
            height: row_numbers.len(),
            paths: self.outlines.iter().map(|o| (o.role, contour(&cut(o.labels), line))).collect(),
            pixel: [rows, columns].map(|axis| self.spacing[axis] * every as f64),
        }
    }
}

impl Plane {
    /// Height and width in mm.
    fn extent(&self) -> [f64; 2] {
        [self.height as f64 * self.pixel[0], self.width as f64 * self.pixel[1]]
    }

    fn draw(&self, x: f64, y: f64, width: f64, height: f64, slices: usize) -> Markup {
        let axis = ["z", "y", "x"][self.axis];
        let scale = [width / self.width.max(1) as f64, height / self.height.max(1) as f64];
        html! {
            text.tick x=(Px(x)) y="14" { (axis) " " (self.slice + 1) " of " (slices) }
            rect.scan x=(Px(x)) y=(Px(y)) width=(Px(width)) height=(Px(height)) {}
            @if let Some(url) = &self.image {
                image href=(url) x=(Px(x)) y=(Px(y)) width=(Px(width)) height=(Px(height)) preserveAspectRatio="none" {}
            }
            @for (role, path) in &self.paths {
                path class=(match role { Role::Reference => "reference", Role::Prediction => "prediction" })
                    transform=(format!("translate({} {}) scale({:.4} {:.4})", Px(x).text(), Px(y).text(), scale[0], scale[1]))
                    d=(path) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of `shape` that are set in the box from `low` to `high`.
    fn labels(shape: [usize; 3], low: [usize; 3], high: [usize; 3]) -> Volume<f32> {
        let mut labels = Volume::filled(shape, 0.0);
        for z in low[0]..high[0] {
            for y in low[1]..high[1] {
                for x in low[2]..high[2] {
                    let at = labels.index(z, y, x);
                    labels.data_mut()[at] = 1.0;
                }
            }
        }
        labels
    }

    #[test]
    fn the_slice_with_most_foreground_is_shown_with_its_surroundings() {
        let shape = [8, 90, 40];
        let mut reference = labels(shape, [2, 40, 10], [3, 42, 12]);
        let big = labels(shape, [5, 40, 10], [6, 60, 12]);
        reference.data_mut().iter_mut().zip(big.data()).for_each(|(a, b)| *a = a.max(*b));
        let outlines = [Outline { role: Role::Reference, labels: &reference }];
        let view = View {
            image: Some(&reference),
            shape,
            spacing: SpacingMm::new([3.0, 1.0, 1.0]),
            outlines: &outlines,
        };
        let counts = view.foreground();
        let axial = view.plane(0, &counts);
        assert_eq!((axial.slice, axial.height, axial.width), (5, 20 + 2 * 12, 12 + 12));
        assert_eq!(axial.paths[0].1, "M10 12h2M10 32h2M10 12v20M12 12v20");
        // Rows are z, turned over: slice 5 of 0..8 is row 2, slice 2 is row 5.
        let coronal = view.plane(1, &counts);
        assert_eq!((coronal.height, coronal.pixel), (8, [3.0, 1.0]));
        assert!(coronal.paths[0].1.starts_with("M10 2h2M10 3h2M10 5h2M10 6h2"), "{}", coronal.paths[0].1);
        let figure = draw_planes(&view, "n".into(), "case <a>".into(), "why".into());
        let drawing = figure.drawing.clone().into_string();
        assert_eq!(drawing.matches("data:image/png").count(), 3);
        assert!(
            figure.alternative.starts_with("case <a>: slices z 6 of 8, y 41 of 90, x 11 of 40"),
            "{}",
            figure.alternative
        );
        assert!(figure.html().into_string().contains("case &lt;a&gt;: slices"));
    }

    #[test]
    fn flat_images_have_one_plane_and_nothing_segmented_is_no_fault() {
        let empty = labels([1, 30, 20], [0; 3], [0; 3]);
        let outlines = [Outline { role: Role::Prediction, labels: &empty }];
        let view = View { image: None, shape: [1, 30, 20], spacing: SpacingMm::UNIT, outlines: &outlines };
        let figure = draw_planes(&view, "n".into(), "t".into(), String::new());
        let drawing = figure.drawing.into_string();
        assert_eq!(drawing.matches("<rect").count(), 1);
        assert!(drawing.contains("d=\"\""), "nothing to outline: {drawing}");
        let wide = View { image: None, shape: [1, 3000, 20], spacing: SpacingMm::UNIT, outlines: &[] };
        assert!(wide.plane(0, &wide.foreground()).height <= LARGEST);
    }
}
