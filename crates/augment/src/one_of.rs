//! One of several transforms, each as likely as the others.

use std::sync::Arc;

use nnunet_base::parts::{Choice, Options};
use rand::RngExt;
use serde_json::Value;

use super::error::AugmentError;
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Step, Transform, TransformContext};

/// Applies one of several transforms, with that one's own probability.
#[derive(Debug, Clone)]
pub struct OneOf {
    /// The transforms; `None` stands for one that has nothing to do in this configuration, but may be chosen.
    pub of: Vec<Option<Step>>,
}

impl OneOf {
    /// Option: `of`, a list of transforms.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let read = |value: &Value| {
            let choices: Vec<Choice> =
                value.as_array()?.iter().map(Choice::from_value).collect::<Option<_>>()?;
            (!choices.is_empty()).then_some(choices)
        };
        let expected = "a list of transforms";
        let Some(choices) = options.read("of", expected, read)? else {
            return Err(options.invalid("of", expected).into());
        };
        let of = choices.iter().map(|choice| Step::build(choice, context)).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Self { of })))
    }
}

impl Transform for OneOf {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let chosen = context.rng.random_range(0..self.of.len());
        if let Some(step) = &self.of[chosen] {
            step.apply(sample, context);
        }
    }

    fn comes_last(&self) -> bool {
        self.of.iter().flatten().any(|step| step.transform.comes_last())
    }

    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        self.of.iter().flatten().try_for_each(|step| step.transform.check(sample))
    }
}
