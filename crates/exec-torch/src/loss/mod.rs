//! Losses where the logits are.
//!
//! As on the host, a loss of one output is a sum of terms. Each adds up what its value needs; the sums of all outputs and terms
//! go to the host in one copy, where values and derivatives follow in f64; the gradients are written on the device. Terms
//! that need whole volumes (distances, skeletons) and losses of one's own run on the host: the logits are copied there, and
//! their gradients back.

mod cross_entropy;
mod field;
mod focal;
mod overlap;
mod top_k;

use std::sync::Arc;

use nnunet_exec_cpu::loss::host_loss;
use nnunet_exec_cpu::loss::validity::{select_target, valid_samples};
use nnunet_graph::NetworkError;
use nnunet_graph::Tensor as HostTensor;
use nnunet_graph::backend::StepError;
use nnunet_graph::loss::{
    Ignored, Loss, LossError, LossSpec, LossValue, OverlapCounts, ScaleLossSpec, ScaleValue, Targets,
    TermSpec,
};

use crate::error::during;
use crate::interface::{Dtype, Tensor, TorchError};
use crate::loss::field::{Field, FieldGradient};
use crate::runtime::Runtime;

/// A term at work on one output.
trait Term {
    /// What the value needs, summed on the device.
    fn sums(&mut self, field: &Field) -> Result<Vec<Tensor>, TorchError>;

    /// The value, from the numbers of [`Term::sums`]; keeps what the gradient needs.
    fn finish(&mut self, numbers: &[f64], field: &Field) -> f64;

    /// Adds `weight` times the derivatives of the value.
    fn add_gradient(
        &self,
        field: &Field,
        weight: f64,
        gradient: &mut FieldGradient,
    ) -> Result<(), TorchError>;
}

/// The loss of a training.
pub(crate) struct BatchLoss {
    runtime: Arc<Runtime>,
    ignored: Ignored,
    way: Way,
}

enum Way {
    /// On the device.
    Device { loss: ScaleLossSpec, weights: Vec<f64> },
    /// On the host.
    Host(Arc<dyn Loss>),
}

/// Whether the device has all terms of a loss; the others are computed on the host.
pub fn runs_on_device(spec: &LossSpec) -> bool {
    let LossSpec::DeepSupervision { loss, .. } = spec else { return false };
    loss.terms.iter().all(|weighted| match weighted.term {
        TermSpec::Dice(_)
        | TermSpec::CrossEntropy(_)
        | TermSpec::TopK(_)
        | TermSpec::Focal(_)
        | TermSpec::Tversky(_) => true,
        TermSpec::Boundary(_) | TermSpec::Hausdorff(_) | TermSpec::ClDice(_) => false,
    })
}

/// Value of the terms of one output, and the gradient by its logits.
type ScaleResult = (ScaleValue, Option<Tensor>);

impl BatchLoss {
    pub(crate) fn new(spec: &LossSpec, runtime: &Arc<Runtime>) -> Self {
        let way = match spec {
            LossSpec::DeepSupervision { loss, weights } if runs_on_device(spec) => {
                Way::Device { loss: loss.clone(), weights: weights.clone() }
            }
            _ => Way::Host(host_loss(spec)),
        };
        Self { runtime: Arc::clone(runtime), ignored: spec.ignored(), way }
    }

    /// What pseudo-Dice counts leave out.
    pub(crate) fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// The loss of the logits of all outputs, in f32.
    pub(crate) fn value(&self, logits: &[Tensor], targets: &Targets) -> Result<f64, StepError> {
        match &self.way {
            Way::Device { loss, weights } => {
                let (value, _) = self.on_device(loss, weights, logits, targets, None)?;
                Ok(value.total)
            }
            Way::Host(loss) => Ok(loss.value(&self.to_host(logits)?, targets)?.total),
        }
    }

    /// The same with the gradients by the logits times `scale`, `None` for outputs that do not take part.
    pub(crate) fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
        scale: f64,
    ) -> Result<(f64, Vec<Option<Tensor>>), StepError> {
        match &self.way {
            Way::Device { loss, weights } => {
                let (value, gradients) = self.on_device(loss, weights, logits, targets, Some(scale))?;
                Ok((value.total, gradients))
            }
            Way::Host(loss) => {
                let (value, gradients) = loss.value_and_gradient(&self.to_host(logits)?, targets)?;
                let upload = |(gradient, logits): (Option<HostTensor>, &Tensor)| {
                    let Some(gradient) = gradient else { return Ok(None) };
                    let gradient = self.runtime.upload(&gradient.data, &logits.shape())?;
                    if scale == 1.0 { Ok(Some(gradient)) } else { gradient.scaled(scale).map(Some) }
                };
                let gradients = gradients.into_iter().zip(logits).map(upload).collect::<Result<_, _>>();
                Ok((value.total, gradients.map_err(during("gradient of the loss"))?))
            }
        }
    }

    fn to_host(&self, logits: &[Tensor]) -> Result<Vec<HostTensor>, NetworkError> {
        let download = |logits: &Tensor| {
            let shape = match logits.shape().iter().map(|&n| n as usize).collect::<Vec<_>>()[..] {
                [n, c, y, x] => [n, c, 1, y, x],
                [n, c, z, y, x] => [n, c, z, y, x],
                _ => [0; 5],
            };
            Ok(HostTensor { shape, data: logits.download()? })
        };
        logits.iter().map(download).collect::<Result<_, TorchError>>().map_err(during("logits"))
    }

    fn on_device(
        &self,
        loss: &ScaleLossSpec,
        weights: &[f64],
        logits: &[Tensor],
        targets: &Targets,
        scale: Option<f64>,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), StepError> {
        if logits.len() != targets.scales.len() || logits.len() != weights.len() {
            let (logits, targets) = (logits.len(), targets.scales.len());
            return Err(LossError::Outputs { logits, targets, weights: weights.len() }.into());
        }
        let samples = logits.first().map_or(0, |logits| logits.shape()[0] as usize);
        let valid = valid_samples(targets, samples)?;
        let computing = during("loss");
        let mut works = Vec::new();
        for ((logits, target), &weight) in logits.iter().zip(&targets.scales).zip(weights) {
            if weight == 0.0 {
                works.push(None);
                continue;
            }
            let work = match &valid {
                None => Work::new(&self.runtime, loss, logits, target)?,
                Some(samples) => {
                    let some = select(logits, samples).map_err(&computing)?;
                    match some {
                        Some(some) => Work::new(&self.runtime, loss, &some, &select_target(target, samples))?,
                        None => Work::nothing(),
                    }
                }
            };
            works.push(Some(work));
        }
        let sums: Vec<&Tensor> = works.iter().flatten().flat_map(|work| work.sums.iter().flatten()).collect();
        let numbers = self.runtime.download_all(&sums).map_err(&computing)?;
        let mut numbers = numbers.as_slice();
        let mut scales = Vec::new();
        let mut gradients = Vec::new();
        for ((work, logits), &weight) in works.into_iter().zip(logits).zip(weights) {
            let Some(mut work) = work else {
                gradients.push(None);
                continue;
            };
            let factor = scale.map(|scale| scale * weight);
            let (mut value, gradient) =
                work.finish(&self.runtime, loss, &mut numbers, factor).map_err(&computing)?;
            value.weight = weight;
            scales.push(value);
            gradients.push(match (&valid, factor) {
                (None, _) => gradient,
                (Some(_), None) => None,
                (Some(samples), Some(_)) => Some(
                    spread(&self.runtime, gradient.as_ref(), &logits.shape(), samples).map_err(&computing)?,
                ),
            });
        }
        let total = scales.iter().map(|s| s.weight * s.sum()).sum();
        Ok((LossValue { total, scales }, gradients))
    }
}

/// The loss of one output in the making.
struct Work {
    /// `None` where no sample counts.
    field: Option<Field>,
    terms: Vec<Box<dyn Term>>,
    /// By term.
    sums: Vec<Vec<Tensor>>,
}

impl Work {
    fn new(
        runtime: &Arc<Runtime>,
        loss: &ScaleLossSpec,
        logits: &Tensor,
        target: &nnunet_graph::loss::Target,
    ) -> Result<Self, StepError> {
        let field = Field::new(runtime, loss.compared, logits, target)?;
        let mut terms = Vec::new();
        for weighted in &loss.terms {
            terms.push(begin(&weighted.term, &field)?);
        }
        let sums = terms.iter_mut().map(|term| term.sums(&field)).collect::<Result<_, _>>();
        Ok(Self { field: Some(field), terms, sums: sums.map_err(during("loss"))? })
    }

    fn nothing() -> Self {
        Self { field: None, terms: Vec::new(), sums: Vec::new() }
    }

    /// The value and, times `factor`, the gradient. Takes its numbers off the front of `numbers`.
    fn finish(
        &mut self,
        runtime: &Runtime,
        loss: &ScaleLossSpec,
        numbers: &mut &[f64],
        factor: Option<f64>,
    ) -> Result<ScaleResult, TorchError> {
        let Some(field) = &self.field else {
            return Ok((ScaleValue { weight: 0.0, terms: Vec::new() }, None));
        };
        let mut values = Vec::new();
        for ((term, sums), weighted) in self.terms.iter_mut().zip(&self.sums).zip(&loss.terms) {
            let count = sums.iter().map(|sum| sum.shape().iter().product::<i64>() as usize).sum();
            let (own, others) = numbers.split_at(count);
            *numbers = others;
            values.push(weighted.weight * term.finish(own, field));
        }
        let value = ScaleValue { weight: 0.0, terms: values };
        let Some(factor) = factor else { return Ok((value, None)) };
        let mut gradient = FieldGradient::default();
        for (term, weighted) in self.terms.iter().zip(&loss.terms) {
            term.add_gradient(field, weighted.weight * factor, &mut gradient)?;
        }
        Ok((value, Some(field.by_logits(runtime, gradient)?)))
    }
}

fn begin(term: &TermSpec, field: &Field) -> Result<Box<dyn Term>, StepError> {
    Ok(match term {
        TermSpec::Dice(spec) => Box::new(overlap::dice(spec, field)),
        TermSpec::Tversky(spec) => Box::new(overlap::tversky(spec, field)),
        TermSpec::CrossEntropy(spec) => Box::new(cross_entropy::MeanCrossEntropy::new(spec, field)?),
        TermSpec::TopK(spec) => Box::new(top_k::TopK::new(spec, field)?),
        TermSpec::Focal(spec) => Box::new(focal::Focal::new(spec, field)?),
        TermSpec::Boundary(_) | TermSpec::Hausdorff(_) | TermSpec::ClDice(_) => {
            return Err(NetworkError::Device {
                node: "loss".into(),
                message: format!("the {} loss runs on the host only", term.name()),
                memory: false,
            }
            .into());
        }
    })
}

/// These samples of a tensor; `None` of no samples.
fn select(tensor: &Tensor, samples: &[usize]) -> Result<Option<Tensor>, TorchError> {
    let parts: Vec<Tensor> =
        samples.iter().map(|&sample| tensor.narrow(0, sample as i64, 1)).collect::<Result<_, _>>()?;
    if parts.is_empty() {
        return Ok(None);
    }
    Tensor::cat(tensor.interface(), &parts.iter().collect::<Vec<_>>(), 0).map(Some)
}

/// The gradient of all samples from that of these; 0 for the others.
fn spread(
    runtime: &Runtime,
    gradient: Option<&Tensor>,
    shape: &[i64],
    samples: &[usize],
) -> Result<Tensor, TorchError> {
    let Some(gradient) = gradient else { return runtime.full(shape, 0.0, Dtype::F32) };
    let mut one = shape.to_vec();
    one[0] = 1;
    let zeros = runtime.full(&one, 0.0, Dtype::F32)?;
    let part = |sample: usize| match samples.iter().position(|&valid| valid == sample) {
        Some(at) => gradient.narrow(0, at as i64, 1),
        None => zeros.share(),
    };
    let parts: Vec<Tensor> = (0..shape[0] as usize).map(part).collect::<Result<_, _>>()?;
    Tensor::cat(&runtime.interface, &parts.iter().collect::<Vec<_>>(), 0)
}

/// Counts at full resolution for the pseudo-Dice, over the samples that were annotated.
pub(crate) fn overlap_counts(
    runtime: &Arc<Runtime>,
    logits: &[Tensor],
    targets: &Targets,
    ignored: Ignored,
) -> Result<Vec<OverlapCounts>, StepError> {
    let (Some(logits), Some(target)) = (logits.first(), targets.scales.first()) else {
        return Ok(Vec::new());
    };
    match valid_samples(targets, logits.shape()[0] as usize)? {
        None => field::count_overlap(runtime, logits, target, ignored),
        Some(samples) => match select(logits, &samples).map_err(during("counts"))? {
            Some(some) => field::count_overlap(runtime, &some, &select_target(target, &samples), ignored),
            None => Ok(vec![OverlapCounts::default(); field::counted_classes(logits, target)]),
        },
    }
}

/// The device's losses for logits on the host, to compare them with the host's.
pub(crate) struct ComparedLoss {
    /// The loss.
    pub(crate) loss: BatchLoss,
}

impl ComparedLoss {
    fn evaluate(
        &self,
        logits: &[HostTensor],
        targets: &Targets,
        scale: Option<f64>,
    ) -> Result<(LossValue, Vec<Option<HostTensor>>), LossError> {
        let runtime = &self.loss.runtime;
        runtime.enter();
        let failed = |error: StepError| match error {
            StepError::Loss(error) => error,
            other => LossError::Device(other.to_string()),
        };
        let Way::Device { loss, weights } = &self.loss.way else {
            return Err(LossError::Device("the loss does not run on the device".into()));
        };
        let uploaded: Vec<Tensor> = logits
            .iter()
            .map(|logits| runtime.upload(&logits.data, &crate::network::sizes(&logits.shape)))
            .collect::<Result<_, _>>()
            .map_err(|error| LossError::Device(error.to_string()))?;
        let (value, gradients) =
            self.loss.on_device(loss, weights, &uploaded, targets, scale).map_err(failed)?;
        let download = |(gradient, logits): (Option<Tensor>, &HostTensor)| {
            gradient
                .map(|gradient| Ok(HostTensor { shape: logits.shape, data: gradient.download()? }))
                .transpose()
        };
        let gradients = gradients.into_iter().zip(logits).map(download).collect::<Result<_, TorchError>>();
        Ok((value, gradients.map_err(|error| LossError::Device(error.to_string()))?))
    }
}

impl Loss for ComparedLoss {
    fn value(&self, logits: &[HostTensor], targets: &Targets) -> Result<LossValue, LossError> {
        self.evaluate(logits, targets, None).map(|(value, _)| value)
    }

    fn value_and_gradient(
        &self,
        logits: &[HostTensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<HostTensor>>), LossError> {
        self.evaluate(logits, targets, Some(1.0))
    }
}
