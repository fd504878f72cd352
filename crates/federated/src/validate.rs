//! The end of a federation at a site: the last weights become its final checkpoint and are validated on its own cases.

use std::path::Path;

use nnunet::Ctx;
use nnunet::checkpoint::StateDict;
use nnunet::dataset::LabelOrRegion;

use crate::error::FederatedError;
use crate::message::{Body, SiteValidation, ValidatedClass};
use crate::round::{global_weights, install, shared};
use crate::site::Site;

impl Site<'_> {
    /// Takes the weights after the last round, writes `checkpoint_final.pth`, and predicts and evaluates the site's
    /// validation cases. The answer has the Dice of each class, and nothing of single cases.
    ///
    /// # Errors
    /// Weights of another round than the last; a site that took part in no round; cases that cannot be predicted;
    /// interrupted.
    pub fn validate(&self, input: &Path, output: &Path, ctx: Ctx<'_>) -> Result<(), FederatedError> {
        let (settings, global, tensors) = global_weights(self.receive(input)?, input)?;
        let mut training = self.continued(&settings, ctx)?;
        let problem = if global.round != settings.rounds {
            Some(format!(
                "the weights are of round {}, expected the last one, {}",
                global.round, settings.rounds
            ))
        } else if !self.has_taken_part(&settings)? {
            Some("the site took part in no round of this federation".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(FederatedError::OtherRound { path: training.folder().fold().to_owned(), problem });
        }
        let keys = shared(&training, &settings, &tensors, input)?;
        training.miss_epochs(settings.epochs());
        install(&mut training, &keys, &tensors)?;
        training.finish(ctx)?;
        let summary = training.validate(false, ctx)?;
        let defined = |dice: f64| Some(dice).filter(|dice| dice.is_finite());
        let foreground = summary.mean.iter().filter(|(class, _)| *class != LabelOrRegion::Label(0));
        let classes = foreground.map(|(class, metrics)| ValidatedClass {
            class: class.values().iter().map(i32::to_string).collect::<Vec<_>>().join(", "),
            dice: defined(metrics.dice),
        });
        let validation = SiteValidation {
            cases: summary.metric_per_case.len(),
            classes: classes.collect(),
            dice: defined(summary.foreground_mean.dice),
        };
        self.answer(&settings, Body::Validation(validation), StateDict::new(), output)
    }
}
