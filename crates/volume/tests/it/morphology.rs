//! Components, holes and boxes against scipy.ndimage (`golden/morphology`) and against plain definitions.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_volume::morphology::{Connectivity, bounding_box, connected_components, fill_holes, nonzero_mask};
use nnunet_volume::{ChannelVolume, Volume};
use proptest::prelude::*;
use serde_json::Value;

fn mask(case: &Value, key: &str) -> Volume<bool> {
    let shape: [usize; 3] = std::array::from_fn(|i| case["shape"][i].as_u64().unwrap() as usize);
    let text = case[key].as_str().unwrap();
    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    let n = shape.iter().product();
    Volume::new(shape, (0..n).map(|i| byte(i / 8) >> (7 - i % 8) & 1 == 1).collect()).unwrap()
}

fn golden() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/morphology/expected.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn components_are_scipys() {
    for case in golden() {
        let mask = mask(&case, "mask");
        for (name, connectivity) in
            [("face", Connectivity::Face), ("edge", Connectivity::Edge), ("corner", Connectivity::Corner)]
        {
            let components = connected_components(&mask, connectivity);
            let sizes: Vec<u64> = components.list().iter().map(|c| c.voxels as u64).collect();
            let want: Vec<u64> =
                case[name]["sizes"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
            assert_eq!(sizes, want, "{name}");
            let labels = components.labels();
            let checksum: u64 =
                labels.data().iter().enumerate().map(|(i, &l)| u64::from(l) * (i as u64 % 1009)).sum();
            assert_eq!(checksum, case[name]["checksum"].as_u64().unwrap(), "{name}");
        }
    }
}

#[test]
fn holes_are_scipys() {
    for case in golden() {
        let mut filled = mask(&case, "mask");
        fill_holes(&mut filled);
        assert_eq!(filled, mask(&case, "filled"));
    }
}

#[test]
fn all_components_tied_for_largest_are_kept() {
    let line = [true, true, false, true, false, true, true];
    let components =
        connected_components(&Volume::new([1, 1, 7], line.to_vec()).unwrap(), Connectivity::Corner);
    assert_eq!(components.largest().data(), [true, true, false, false, false, true, true]);
    assert_eq!(components.keep(|c| c.voxels == 1).data(), [false, false, false, true, false, false, false]);
    assert_eq!((components.list()[2].low, components.list()[2].high), ([0, 0, 5], [1, 1, 7]));
}

#[test]
fn mask_is_the_union_over_channels() {
    let image = ChannelVolume::new(2, [1, 2, 2], vec![0., 1., 0., 0., 0., 0., -2., 0.]).unwrap();
    let mask = nonzero_mask(&image);
    assert_eq!(mask.data(), [false, true, true, false]);
    assert_eq!(bounding_box(&mask), Some([0..1, 0..2, 0..2]));
    assert_eq!(bounding_box(&Volume::filled([2, 3, 4], false)), None);
}

proptest! {
    #[test]
    fn box_is_what_a_search_finds(shape in [1usize..6, 1usize..6, 1usize..6], seed in any::<u64>()) {
        let n = shape.iter().product::<usize>();
        let bits: Vec<bool> = (0..n).map(|i| (seed ^ ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))).count_ones() > 38).collect();
        let mask = Volume::new(shape, bits).unwrap();
        let mut want: Option<[std::ops::Range<usize>; 3]> = None;
        for z in 0..shape[0] { for y in 0..shape[1] { for x in 0..shape[2] {
            if mask.data()[mask.index(z, y, x)] {
                let at = [z, y, x];
                let b = want.get_or_insert(at.map(|v| v..v + 1));
                for (range, v) in b.iter_mut().zip(at) {
                    *range = range.start.min(v)..range.end.max(v + 1);
                }
            }
        }}}
        prop_assert_eq!(bounding_box(&mask), want);
    }
}
