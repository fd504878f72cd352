//! Where the tiles of a sliding window lie.

/// Starts of the tiles along one axis: evenly spread, first at 0, last flush with the end, at most
/// `step_fraction` of a tile apart. Positions are rounded half to even, as the reference does.
///
/// `image` must not be smaller than `tile` (the image is padded before); `step_fraction` lies in (0, 1].
pub fn axis_starts(image: usize, tile: usize, step_fraction: f64) -> Vec<usize> {
    let room = image.saturating_sub(tile);
    if room == 0 {
        return vec![0];
    }
    let count = (room as f64 / (tile as f64 * step_fraction)).ceil() as usize + 1;
    let step = room as f64 / (count - 1) as f64;
    let mut starts: Vec<usize> = (0..count).map(|i| (step * i as f64).round_ties_even() as usize).collect();
    // Steps below one voxel repeat positions; a tile twice changes nothing but the time.
    starts.dedup();
    starts
}

/// Starts (z, y, x) of all tiles of shape `tile` in an image of shape `image`, z slowest.
///
/// A 2-D tile has `tile[0] == 1` and `planar` set: every plane is covered on its own.
pub fn tile_starts(image: [usize; 3], tile: [usize; 3], step_fraction: f64, planar: bool) -> Vec<[usize; 3]> {
    let z_starts =
        if planar { (0..image[0]).collect() } else { axis_starts(image[0], tile[0], step_fraction) };
    let y_starts = axis_starts(image[1], tile[1], step_fraction);
    let x_starts = axis_starts(image[2], tile[2], step_fraction);
    let mut starts = Vec::with_capacity(z_starts.len() * y_starts.len() * x_starts.len());
    for &z in &z_starts {
        for &y in &y_starts {
            starts.extend(x_starts.iter().map(|&x| [z, y, x]));
        }
    }
    starts
}

/// How far an image of `image` voxels has to be padded in front and behind to hold one tile; centred,
/// the odd voxel behind.
pub fn axis_padding(image: usize, tile: usize) -> (usize, usize) {
    let missing = tile.saturating_sub(image);
    (missing / 2, missing - missing / 2)
}

#[cfg(test)]
mod tests {
    use nnunet_testkit::shared::shared_path;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn starts_equal_the_reference() {
        let Some(path) = shared_path("reference/unit/sliding_initialpatch_blosc.json") else { return };
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let numbers = |v: &serde_json::Value| -> Vec<usize> {
            v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let cases = golden["steps"].as_array().unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let (image, tile) = (numbers(&case["image"]), numbers(&case["tile"]));
            let step = case["step"].as_f64().unwrap();
            for (axis, expected) in case["out"].as_array().unwrap().iter().enumerate() {
                assert_eq!(axis_starts(image[axis], tile[axis], step), numbers(expected), "{case}");
            }
        }
    }

    #[test]
    fn planes_are_covered_one_by_one() {
        assert_eq!(tile_starts([3, 4, 8], [1, 4, 4], 0.5, true).len(), 3 * 3);
        assert_eq!(tile_starts([3, 4, 8], [3, 4, 4], 1.0, false), [[0, 0, 0], [0, 0, 4]]);
    }

    proptest! {
        #[test]
        fn tiles_cover_the_axis(image in 1usize..300, tile in 1usize..200, step in 0.05f64..=1.0) {
            let (front, behind) = axis_padding(image, tile);
            let padded = image + front + behind;
            prop_assert!(padded >= tile && behind - front <= 1);
            let starts = axis_starts(padded, tile, step);
            prop_assert_eq!(starts[0], 0);
            prop_assert_eq!(starts[starts.len() - 1] + tile, padded);
            for pair in starts.windows(2) {
                prop_assert!(pair[1] > pair[0] && pair[1] <= pair[0] + tile);
            }
        }
    }
}
