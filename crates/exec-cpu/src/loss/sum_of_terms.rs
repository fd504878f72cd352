//! A weighted sum of terms, the general form of a loss of one output.
//!
//! Two sweeps over the voxels: one adds up what the values need, one writes the gradient. Probabilities are computed in
//! both, so that no tensor of them is kept. Terms that need whole volumes (distances, skeletons) have sweeps of their own
//! before.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{LossError, ScaleLossSpec, ScaleValue, Target, TermSpec, WeightedTerm};

use super::field::Field;
use super::run::{Run, RunGradient};
use super::terms::{boundary, cl_dice, cross_entropy, focal, hausdorff, overlap, top_k};
use super::{Gradient, ScaleLoss};

/// A loss of one output as its description says, whatever its terms are.
#[derive(Debug, Clone, PartialEq)]
pub struct SumOfTerms {
    /// The description.
    pub spec: ScaleLossSpec,
}

/// A term at work on one batch.
pub(super) trait Term: Send + Sync {
    /// How many numbers [`Term::add_sums`] adds up for each sample.
    fn width(&self) -> usize {
        0
    }

    /// Adds what the value needs of a run to the numbers of its sample, of which there are [`Term::width`].
    fn add_sums(&self, _run: &Run, _sums: &mut [f64]) {}

    /// The value, from the numbers of all samples, one sample after the other; keeps what the gradient needs.
    fn finish(&mut self, sums: &[f64]) -> f64;

    /// Adds `weight` times the derivatives of the value at the voxels of a run.
    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient);
}

impl ScaleLoss for SumOfTerms {
    fn evaluate(
        &self,
        logits: &Tensor,
        target: &Target,
        gradient: Gradient,
    ) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        let field = Field::new(self.spec.compared, logits, target)?;
        let wanted = gradient != Gradient::Omitted;
        let mut terms: Vec<Box<dyn Term>> = self
            .spec
            .terms
            .iter()
            .map(|weighted| begin(&weighted.term, &field, wanted))
            .collect::<Result<_, _>>()?;
        let values = values(&field, &mut terms);
        let weights = self.spec.terms.iter().map(|weighted| weighted.weight);
        let value =
            ScaleValue { weight: 1.0, terms: weights.clone().zip(values).map(|(w, v)| w * v).collect() };
        let Gradient::Times(factor) = gradient else { return Ok((value, None)) };
        let shares: Vec<f64> = weights.map(|weight| weight * factor).collect();
        let gradient = field.gradient(|run, gradient| {
            for (term, &share) in terms.iter().zip(&shares) {
                term.add_gradient(run, share, gradient);
            }
        });
        Ok((value, Some(gradient)))
    }
}

impl SumOfTerms {
    /// The loss that `spec` describes.
    pub fn new(spec: ScaleLossSpec) -> Self {
        Self { spec }
    }

    /// The loss with a single term.
    pub fn of(compared: nnunet_graph::loss::Compared, term: TermSpec) -> Self {
        Self { spec: ScaleLossSpec { compared, terms: vec![WeightedTerm { weight: 1.0, term }] } }
    }
}

/// The values of the terms, without their weights.
fn values(field: &Field<'_>, terms: &mut [Box<dyn Term>]) -> Vec<f64> {
    let widths: Vec<usize> = terms.iter().map(|term| term.width()).collect();
    let width: usize = widths.iter().sum();
    let mut totals = vec![0.0f64; field.samples() * width];
    if width > 0 {
        let add = |sums: &mut Vec<f64>, run: &Run| {
            let mut sums = sums.as_mut_slice();
            for (term, &width) in terms.iter().zip(&widths) {
                let (own, others) = std::mem::take(&mut sums).split_at_mut(width);
                term.add_sums(run, own);
                sums = others;
            }
        };
        for (sample, sums) in field.sweep(|| vec![0.0f64; width], add) {
            let totals = &mut totals[sample * width..(sample + 1) * width];
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
    let mut first = 0;
    let mut values = Vec::with_capacity(terms.len());
    for (term, own) in terms.iter_mut().zip(widths) {
        let samples = totals.chunks_exact(width.max(1));
        let sums: Vec<f64> = samples.flat_map(|sums| &sums[first..first + own]).copied().collect();
        values.push(term.finish(&sums));
        first += own;
    }
    values
}

fn begin(term: &TermSpec, field: &Field<'_>, gradient: bool) -> Result<Box<dyn Term>, LossError> {
    Ok(match term {
        TermSpec::Dice(spec) => Box::new(overlap::dice(spec, field)),
        TermSpec::Tversky(spec) => Box::new(overlap::tversky(spec, field)),
        TermSpec::CrossEntropy(spec) => Box::new(cross_entropy::MeanCrossEntropy::new(spec, field)?),
        TermSpec::TopK(spec) => Box::new(top_k::TopK::new(spec, field)?),
        TermSpec::Focal(spec) => Box::new(focal::Focal::new(spec, field)?),
        TermSpec::Boundary(spec) => Box::new(boundary::Boundary::new(spec, field)),
        TermSpec::Hausdorff(spec) => Box::new(hausdorff::Hausdorff::new(spec, field)),
        TermSpec::ClDice(spec) => Box::new(cl_dice::ClDice::new(spec, field, gradient)),
    })
}
