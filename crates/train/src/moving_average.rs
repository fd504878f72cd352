//! A moving average of the weights over the steps of a training: the averaged network is the one that is validated and
//! predicts.
//!
//! After each step a -> d a + (1 - d) w for the averaged weights a, the trained ones w and the decay d, beginning with a = w
//! before the first step (Polyak and Juditsky 1992; as `torch.optim.swa_utils.get_ema_multi_avg_fn`). Running statistics of norms
//! are taken over as they are.

use nnunet_graph::backend::TrainingSession;
use nnunet_graph::{NetworkError, Parameters};

/// Averaged weights, and whether they are in the session at the moment.
pub(super) struct MovingAverage {
    decay: f64,
    /// The averaged weights; while they are in the session, the trained ones.
    parameters: Parameters,
    in_session: bool,
}

impl MovingAverage {
    /// The average that is `parameters` so far.
    pub(super) fn new(decay: f64, parameters: Parameters) -> Self {
        Self { decay, parameters, in_session: false }
    }

    /// Moves the average towards the weights of `session`, which has just taken a step.
    ///
    /// # Errors
    /// When the weights cannot be fetched from the device.
    pub(super) fn follow(&mut self, session: &mut dyn TrainingSession) -> Result<(), NetworkError> {
        let share = (1.0 - self.decay) as f32;
        let mut copied = Ok(());
        session.visit_parameters(&mut |trained| {
            for ((_, average), (_, trained)) in self.parameters.iter_mut().zip(trained.iter()) {
                let pairs = average.value_mut().iter_mut().zip(trained.value());
                pairs.for_each(|(average, trained)| *average += share * (trained - *average));
            }
            for (name, buffer) in trained.buffers() {
                copied =
                    copied.clone().and_then(|()| self.parameters.set(name, buffer.shape(), buffer.value()));
            }
        })?;
        copied
    }

    /// Exchanges the weights of `session`: the averaged ones go in, or the trained ones back.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn exchange(&mut self, session: &mut dyn TrainingSession) -> Result<(), NetworkError> {
        session.visit_parameters(&mut |own| {
            for ((_, mine), (_, own)) in self.parameters.iter_mut().zip(own.iter_mut()) {
                mine.value_mut().swap_with_slice(own.value_mut());
            }
        })?;
        self.in_session = !self.in_session;
        Ok(())
    }

    /// Sorts out what was `exported` from the session: the trained weights stay in it, the averaged ones are returned.
    pub(super) fn separate(&self, exported: &mut Parameters) -> Parameters {
        let kept = self.parameters.without_gradients();
        if self.in_session { std::mem::replace(exported, kept) } else { kept }
    }

    /// The average begins again with `parameters`.
    pub(super) fn restart(&mut self, parameters: Parameters) {
        self.parameters = parameters;
    }
}
