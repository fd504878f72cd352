//! The mean of the largest cross-entropies, over all samples of a batch: of voxels, or of regions at voxels.

use nnunet_graph::loss::{LossError, TopKSpec};

use super::Term;
use super::cross_entropy::CrossEntropy;
use super::field::{Field, FieldGradient};
use crate::interface::{Dtype, Tensor, TorchError};

pub(super) struct TopK {
    voxels: CrossEntropy,
    /// Values that take part.
    taken: usize,
    /// 1 where a value is above the threshold, and where it equals it.
    sides: Option<[Tensor; 2]>,
    /// Derivative of the mean by values above the threshold, and by those that equal it.
    shares: [f64; 2],
}

impl TopK {
    pub(super) fn new(spec: &TopKSpec, field: &Field) -> Result<Self, LossError> {
        let values = field.voxels * if field.of_regions() { field.channels } else { 1 };
        // As Python's int(count * k / 100), but never none.
        let taken = ((values as f64 * spec.percent / 100.0) as usize).clamp(1, values.max(1));
        Ok(Self {
            voxels: CrossEntropy::new(&spec.cross_entropy, field)?,
            taken,
            sides: None,
            shares: [0.0; 2],
        })
    }
}

impl Term for TopK {
    fn sums(&mut self, field: &Field) -> Result<Vec<Tensor>, TorchError> {
        let zero = field.runtime.full(&vec![1; field.targets.shape().len()], 0.0, Dtype::F32)?;
        // Rounding may leave values just below zero.
        let values = self.voxels.values(field)?.maximum(&zero)?;
        let flat = values.reshape(&[-1])?;
        let count = flat.shape()[0];
        let threshold = flat.kth_smallest(count - self.taken as i64 + 1)?;
        let below = threshold.exceeds(&values)?;
        let equal = values.equals(&threshold)?.to(Dtype::F32)?;
        // What is not a number is above every threshold.
        let above = below.not()?.to(Dtype::F32)?.plus(&equal, -1.0)?;
        let sums =
            vec![field.sums(&above.times(&values)?)?, field.sums(&above)?, field.sums(&equal)?, threshold];
        self.sides = Some([above, equal]);
        Ok(sums)
    }

    fn finish(&mut self, numbers: &[f64], _field: &Field) -> f64 {
        let Some((&threshold, sums)) = numbers.split_last() else { return 0.0 };
        let total = |at: usize| sums[at * sums.len() / 3..(at + 1) * sums.len() / 3].iter().sum::<f64>();
        let among_equal = self.taken as f64 - total(1);
        let rest = if among_equal > 0.0 { among_equal * threshold } else { 0.0 };
        let share = 1.0 / self.taken as f64;
        // Equal values take equal parts of the places that are left, so that the order of voxels does not matter.
        self.shares = [share, share * among_equal.max(0.0) / total(2).max(1.0)];
        (total(0) + rest) * share
    }

    fn add_gradient(
        &self,
        field: &Field,
        weight: f64,
        gradient: &mut FieldGradient,
    ) -> Result<(), TorchError> {
        let Some([above, equal]) = &self.sides else { return Ok(()) };
        let [of_above, of_equal] = self.shares.map(|share| share * weight);
        let factors = above.scaled(of_above)?.plus(equal, of_equal)?;
        gradient.add_by_logit(self.voxels.by_logit(field)?.times(&factors)?)
    }
}
