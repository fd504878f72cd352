//! Distances between surfaces, weighted by area, in mm.
//!
//! The definition of DeepMind's `surface-distance` (Nikolov et al., 2018): surface elements sit at the corners of
//! voxels. A corner belongs to the surface of a mask if some but not all of the 8 voxels around it are set; beyond the
//! image nothing is. These 8 voxels also say how large the element is: the area of the triangles that marching cubes
//! puts there. In flat images elements are contours: 4 pixels around a corner, and lengths instead of areas.
//!
//! Distances are between corners, from every element to the nearest of the other surface. If one of the masks is empty,
//! all distances of the other are infinite.

use nnunet_volume::morphology::{bounding_box, squared_distances_from};
use nnunet_volume::{SpacingMm, Volume};

use super::neighbourhood::{corner_codes, flat_corner_codes};
use crate::evaluate::pairwise_sum;

/// Surface elements of one mask with their distances to the other surface, ascending by distance, then area.
#[derive(Debug, Default, PartialEq)]
pub struct Surfels {
    /// Distance in mm and area in mm² (flat images: length in mm).
    elements: Vec<(f64, f64)>,
}

/// The distances between two surfaces in both directions.
#[derive(Debug, PartialEq)]
pub struct SurfaceDistances {
    /// From the reference's surface to the prediction's.
    pub to_prediction: Surfels,
    /// From the prediction's surface to the reference's.
    pub to_reference: Surfels,
}

/// Compares two masks of one shape (z, y, x) with `spacing` (z, y, x) in mm; `flat` for images of one slice, whose
/// surfaces are contours.
pub fn surface_distances(
    reference: &Volume<bool>,
    prediction: &Volume<bool>,
    spacing: SpacingMm,
    flat: bool,
) -> SurfaceDistances {
    let either = reference.data().iter().zip(prediction.data()).map(|(a, b)| *a || *b).collect();
    let bounds = Volume::new(reference.shape(), either).and_then(|either| bounding_box(&either));
    let Some(bounds) = bounds else {
        return SurfaceDistances { to_prediction: Surfels::default(), to_reference: Surfels::default() };
    };
    // Nothing is set beyond the box, and corners lie around it.
    let [reference, prediction] = [reference.crop(&bounds), prediction.crop(&bounds)];
    let (areas, full) =
        if flat { (lengths(spacing.along_axes()), 15) } else { (areas(spacing.along_axes()), 255) };
    let codes = |mask: &Volume<bool>| if flat { flat_corner_codes(mask) } else { corner_codes(mask) };
    let codes = [codes(&reference), codes(&prediction)];
    let is_border = |code: u8| code != 0 && code != full;
    let border = |codes: &Volume<u8>| {
        let border = codes.data().iter().map(|&code| is_border(code)).collect();
        Volume::new(codes.shape(), border).unwrap_or_else(|| Volume::filled(codes.shape(), false))
    };
    let borders = [border(&codes[0]), border(&codes[1])];
    let directed = |from: usize, to: usize| {
        let squared = squared_distances_from(&borders[from], &borders[to], spacing);
        let areas =
            codes[from].data().iter().filter(|code| is_border(**code)).map(|&code| areas[usize::from(code)]);
        let mut elements: Vec<_> = squared.iter().map(|squared| squared.sqrt()).zip(areas).collect();
        elements.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Surfels { elements }
    };
    SurfaceDistances { to_prediction: directed(0, 1), to_reference: directed(1, 0) }
}

impl Surfels {
    /// Whether there is no surface.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    fn area(&self) -> f64 {
        self.sum(|_, area| area)
    }

    fn sum(&self, value: impl Fn(f64, f64) -> f64) -> f64 {
        pairwise_sum(&self.elements.iter().map(|&(distance, area)| value(distance, area)).collect::<Vec<_>>())
    }

    /// The distance up to which `share` of the area lies; infinite without a surface.
    fn percentile(&self, share: f64) -> f64 {
        let area = self.area();
        let mut sum = 0.0;
        let found = self.elements.iter().find(|(_, element)| {
            sum += element;
            sum / area >= share
        });
        found.or(self.elements.last()).map_or(f64::INFINITY, |(distance, _)| *distance)
    }

    /// The mean distance; NaN without a surface.
    fn average(&self) -> f64 {
        self.sum(|distance, area| distance * area) / self.area()
    }

    /// The area at most `tolerance` mm away from the other surface.
    fn area_within(&self, tolerance: f64) -> f64 {
        let near = self.elements.iter().filter(|(distance, _)| *distance <= tolerance);
        pairwise_sum(&near.map(|(_, area)| *area).collect::<Vec<_>>())
    }
}

impl SurfaceDistances {
    /// The larger of the two distances, in mm, up to which `share` (0 to 1) of a surface lies: the Hausdorff distance
    /// for 1. Infinite where one mask is empty, or both.
    pub fn hausdorff(&self, share: f64) -> f64 {
        if share >= 1.0 {
            let farthest = |surfels: &Surfels| surfels.elements.last().map_or(f64::INFINITY, |last| last.0);
            return farthest(&self.to_prediction).max(farthest(&self.to_reference));
        }
        self.to_prediction.percentile(share).max(self.to_reference.percentile(share))
    }

    /// The average over both surfaces together, in mm: infinite where one mask is empty, NaN where both are.
    pub fn assd(&self) -> f64 {
        let both = [&self.to_prediction, &self.to_reference];
        let sum: f64 = both.iter().map(|surfels| surfels.sum(|distance, area| distance * area)).sum();
        sum / both.iter().map(|surfels| surfels.area()).sum::<f64>()
    }

    /// The mean of the averages over either surface, in mm: infinite where one mask is empty, NaN where both are.
    pub fn masd(&self) -> f64 {
        match (self.to_prediction.is_empty(), self.to_reference.is_empty()) {
            (false, false) => (self.to_prediction.average() + self.to_reference.average()) / 2.0,
            (true, true) => f64::NAN,
            _ => f64::INFINITY,
        }
    }

    /// The share of both surfaces that is at most `tolerance` mm from the other: 0 where one mask is empty, NaN where
    /// both are.
    pub fn nsd(&self, tolerance: f64) -> f64 {
        (self.to_prediction.area_within(tolerance) + self.to_reference.area_within(tolerance))
            / (self.to_prediction.area() + self.to_reference.area())
    }
}

/// Triangles at a corner, by its code: from the highest digit, the total length of normals along (1, 1, 1) in eighths,
/// the numbers of normals of 1/2 along z, y and x, and of those of 1/4 along (z, y), (z, x) and (y, x); directions up to
/// sign. Codes from 128 on are the complements. Numbers of `surface_distance.lookup_tables` 0.1 (Apache-2.0).
#[rustfmt::skip]
const TRIANGLES: [u32; 128] = [
    0x0000000, 0x1000000, 0x1000000, 0x0000200, 0x1000000, 0x0000020, 0x2000000, 0x3100000,
    0x1000000, 0x2000000, 0x0000020, 0x3100000, 0x0000200, 0x3100000, 0x3100000, 0x0200000,
    0x1000000, 0x0000002, 0x2000000, 0x3010000, 0x2000000, 0x3001000, 0x3000000, 0x6000000,
    0x2000000, 0x1000002, 0x1000020, 0x4000011, 0x1000200, 0x4000101, 0x4100000, 0x3100000,
    0x1000000, 0x2000000, 0x0000002, 0x3010000, 0x2000000, 0x1000020, 0x1000002, 0x4000011,
    0x2000000, 0x3000000, 0x3001000, 0x6000000, 0x1000200, 0x4100000, 0x4000101, 0x3100000,
    0x0000200, 0x3010000, 0x3010000, 0x0020000, 0x1000200, 0x4000110, 0x4010000, 0x3010000,
    0x1000200, 0x4010000, 0x4000110, 0x3010000, 0x0000400, 0x1000200, 0x1000200, 0x0000200,
    0x1000000, 0x2000000, 0x2000000, 0x1000200, 0x0000002, 0x3001000, 0x1000002, 0x4000101,
    0x2000000, 0x3000000, 0x1000020, 0x4100000, 0x3010000, 0x6000000, 0x4000011, 0x3100000,
    0x0000020, 0x3001000, 0x1000020, 0x4000110, 0x3001000, 0x0002000, 0x4001000, 0x3001000,
    0x1000020, 0x4001000, 0x0000040, 0x1000020, 0x4000110, 0x3001000, 0x1000020, 0x0000020,
    0x2000000, 0x3000000, 0x1000002, 0x4010000, 0x1000002, 0x4001000, 0x0000004, 0x1000002,
    0x3000000, 0x4000000, 0x4001000, 0x3000000, 0x4010000, 0x3000000, 0x1000002, 0x2000000,
    0x3100000, 0x6000000, 0x4000011, 0x3010000, 0x4000101, 0x3001000, 0x1000002, 0x0000002,
    0x4100000, 0x3000000, 0x1000020, 0x2000000, 0x1000200, 0x2000000, 0x2000000, 0x1000000,
];

/// Area in mm² of the surface at a corner, by its code.
fn areas([z, y, x]: [f64; 3]) -> [f64; 256] {
    // A normal's component along an axis is scaled by the area of the face across it.
    let faces = [y * x, z * x, z * y];
    let [a, b, c] = faces;
    let of_kind = [
        (a * a + b * b + c * c).sqrt() / 8.0,
        a / 2.0,
        b / 2.0,
        c / 2.0,
        a.hypot(b) / 4.0,
        a.hypot(c) / 4.0,
        b.hypot(c) / 4.0,
    ];
    std::array::from_fn(|code| {
        let triangles = TRIANGLES[if code < 128 { code } else { 255 - code }];
        let count = |kind: usize| f64::from(triangles >> (24 - 4 * kind) & 15);
        of_kind.iter().enumerate().map(|(kind, area)| count(kind) * area).sum()
    })
}

/// Length in mm of the contour at a corner of a flat image, by its code.
fn lengths([_, y, x]: [f64; 3]) -> [f64; 256] {
    let diagonal = y.hypot(x) / 2.0;
    std::array::from_fn(|code| match code {
        1 | 2 | 4 | 7 | 8 | 11 | 13 | 14 => diagonal,
        6 | 9 => 2.0 * diagonal,
        3 | 12 => x,
        5 | 10 => y,
        _ => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surface_of_a_block_has_cut_edges_and_corners() {
        let block = Volume::filled([4, 5, 6], true);
        let spacing = [3.0, 0.5, 2.0];
        let found = surface_distances(&block, &block, SpacingMm::new(spacing), false);
        let [z, y, x] = spacing;
        // Corners inside of a face, along an edge, and the 8 at the ends.
        let faces = 2.0 * (4.0 * 5.0 * y * x + 3.0 * 5.0 * z * x + 3.0 * 4.0 * z * y);
        let edges = 4.0 * (3.0 * z * y.hypot(x) + 4.0 * y * z.hypot(x) + 5.0 * x * z.hypot(y)) / 2.0;
        let ends = 8.0 * ((y * x).powi(2) + (z * x).powi(2) + (z * y).powi(2)).sqrt() / 8.0;
        let area = found.to_prediction.area();
        assert!((area - faces - edges - ends).abs() < 1e-9, "{area} {}", faces + edges + ends);
        assert_eq!((found.hausdorff(1.0), found.assd(), found.nsd(0.0)), (0.0, 0.0, 1.0));
    }

    #[test]
    fn empty_masks() {
        let [empty, full] = [false, true].map(|set| Volume::filled([2, 3, 4], set));
        for flat in [false, true] {
            let both = surface_distances(&empty, &empty, SpacingMm::UNIT, flat);
            assert_eq!((both.hausdorff(1.0), both.hausdorff(0.95)), (f64::INFINITY, f64::INFINITY));
            assert!(both.assd().is_nan() && both.masd().is_nan() && both.nsd(1.0).is_nan());
        }
        for (a, b) in [(&empty, &full), (&full, &empty)] {
            let one = surface_distances(a, b, SpacingMm::UNIT, false);
            assert_eq!((one.hausdorff(1.0), one.hausdorff(0.95)), (f64::INFINITY, f64::INFINITY));
            assert_eq!((one.assd(), one.masd(), one.nsd(1.0)), (f64::INFINITY, f64::INFINITY, 0.0));
        }
    }
}
