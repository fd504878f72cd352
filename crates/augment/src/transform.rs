//! What a transform is, and how one is built from its name and options.

use std::fmt::Debug;
use std::sync::Arc;

use nnunet_base::parts::{Choice, Named, Options};

use super::error::AugmentError;
use super::geometry::PatchGeometry;
use super::pipeline::{Sample, Scratch};
use super::policy::ConfigurationFacts;
use super::random::{SampleRng, decide};

/// One step of the augmentation.
///
/// A transform may change the image, the segmentation or both; afterwards both must have one shape. It has to be a
/// function of the sample and of the numbers that it draws from [`TransformContext::rng`]: batches must not depend on
/// the number of loader threads.
pub trait Transform: Debug + Send + Sync {
    /// Changes `sample` in place.
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>);

    /// Whether the transform fits samples like this one. Asked for every transform of a list before the first one runs.
    ///
    /// # Errors
    /// The sample lacks something, for instance a channel.
    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        let _ = sample;
        Ok(())
    }

    /// Whether nothing may come after this transform that does not say the same of itself.
    fn comes_last(&self) -> bool {
        false
    }
}

/// What a transform has at hand besides the sample.
#[derive(Debug)]
pub struct TransformContext<'a> {
    /// Source of all randomness.
    pub rng: &'a mut SampleRng,
    /// Buffers that are reused from sample to sample; what they hold means nothing.
    pub scratch: &'a mut Scratch,
    /// Patch and crop sizes.
    pub geometry: &'a PatchGeometry,
    /// Channels that the sample's case does not have, ascending. They are 0 in the end, whatever happens to them.
    pub absent: &'a [usize],
}

/// What a transform can be built for.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    /// The configuration and its dataset.
    pub facts: &'a ConfigurationFacts,
    /// Patch and crop sizes.
    pub geometry: &'a PatchGeometry,
    /// Axes of the configuration's own patch that may be mirrored.
    pub mirror_axes: &'a [usize],
    /// All transforms by name, for those that contain others.
    pub transforms: &'a Named<TransformBuilder>,
}

/// A transform, or `None` where it has nothing to do in this configuration (masks without masked channels).
pub type BuiltTransform = Result<Option<Arc<dyn Transform>>, AugmentError>;

/// Builds a transform from its options. The option `probability` and options that nobody asked for are the caller's.
pub type TransformBuilder = Arc<dyn Fn(&mut Options<'_>, &BuildContext<'_>) -> BuiltTransform + Send + Sync>;

/// A transform and the probability with which a sample gets it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The name and options that the transform was built from.
    pub choice: Choice,
    /// Probability per sample.
    pub probability: f64,
    /// The transform.
    pub transform: Arc<dyn Transform>,
}

impl Step {
    /// Builds the transform that `choice` names; `None` where it has nothing to do.
    ///
    /// # Errors
    /// Unknown names and options, and options that do not fit the configuration.
    pub fn build(choice: &Choice, context: &BuildContext<'_>) -> Result<Option<Self>, AugmentError> {
        let builder = context.transforms.get(&choice.kind)?;
        let mut options = choice.reader(format!("transform {}", choice.kind));
        let probability = options.probability("probability", 1.0)?;
        let transform = builder(&mut options, context)?;
        options.finish()?;
        Ok(transform.map(|transform| Self { choice: choice.clone(), probability, transform }))
    }

    /// Applies the transform with its probability.
    pub fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        if decide(self.probability, context.rng) {
            self.transform.apply(sample, context);
        }
    }
}
