//! Errors of the Betti numbers: whether the prediction has as many parts, tunnels and cavities as the reference.

use std::sync::Arc;

use nnunet_volume::Volume;
use nnunet_volume::morphology::{Connectivity, connected_components};

use crate::evaluate::case::ClassCase;
use crate::evaluate::metric::{Metric, no_argument};
use crate::evaluate::neighbourhood::euler_characteristic;

/// `betti0_error`, `betti1_error` and `betti2_error`: the absolute differences of the numbers of components, tunnels
/// and cavities of prediction and reference. Set voxels touch at corners, unset ones at faces. Flat images have holes
/// for tunnels and no cavities. An empty mask has none of either.
#[derive(Debug)]
pub struct Betti;

impl Betti {
    pub(in crate::evaluate) fn build(argument: Option<&str>) -> Result<Arc<dyn Metric>, String> {
        no_argument(argument)?;
        Ok(Arc::new(Self))
    }
}

impl Metric for Betti {
    fn keys(&self) -> Vec<String> {
        ["betti0_error", "betti1_error", "betti2_error"].map(str::to_owned).into()
    }

    fn measure(&self, case: &ClassCase<'_>) -> Result<Vec<f64>, String> {
        let masks = case.masks();
        let (seen, truth) = (betti_numbers(&masks.prediction), betti_numbers(&masks.reference));
        Ok(seen.iter().zip(truth).map(|(seen, truth)| seen.abs_diff(truth) as f64).collect())
    }

    fn uses_spacing(&self) -> bool {
        false
    }
}

/// Components, tunnels and cavities of a mask (z, y, x).
fn betti_numbers(mask: &Volume<bool>) -> [i64; 3] {
    let components = connected_components(mask, Connectivity::Corner).list().len() as i64;
    if components == 0 {
        return [0; 3];
    }
    let outside = padded_complement(mask);
    let cavities = connected_components(&outside, Connectivity::Face).list().len() as i64 - 1;
    [components, components + cavities - euler_characteristic(mask), cavities]
}

/// The unset voxels, and a border of them all around.
fn padded_complement(mask: &Volume<bool>) -> Volume<bool> {
    let [depth, height, width] = mask.shape();
    let mut outside = Volume::filled([depth + 2, height + 2, width + 2], true);
    for z in 0..depth {
        for y in 0..height {
            let row = &mask.data()[mask.index(z, y, 0)..][..width];
            let start = outside.index(z + 1, y + 1, 1);
            outside.data_mut()[start..start + width].iter_mut().zip(row).for_each(|(out, set)| *out = !set);
        }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_a_shell_and_two_parts() {
        let of = |shape: [usize; 3], unset: &[[usize; 3]]| {
            let mut mask = Volume::filled(shape, true);
            for [z, y, x] in unset {
                let i = mask.index(*z, *y, *x);
                mask.data_mut()[i] = false;
            }
            betti_numbers(&mask)
        };
        assert_eq!(of([1, 3, 3], &[[0, 1, 1]]), [1, 1, 0]);
        assert_eq!(of([3, 3, 3], &[[1, 1, 1]]), [1, 0, 1]);
        assert_eq!(of([1, 1, 5], &[[0, 0, 2]]), [2, 0, 0]);
        assert_eq!(of([3, 3, 3], &[[0, 1, 1], [1, 1, 1], [2, 1, 1]]), [1, 1, 0]);
        assert_eq!(betti_numbers(&Volume::filled([2, 2, 2], false)), [0; 3]);
    }
}
