//! `posterize`: intensities rounded to steps, as a scanner with fewer bits would have stored them.

use std::sync::Arc;

use nnunet::augment::{BuildContext, BuiltTransform, Sample, Transform, TransformContext};
use nnunet::parts::Options;

#[derive(Debug)]
struct Posterize {
    step: f32,
}

impl Transform for Posterize {
    fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
        sample.image.data_mut().iter_mut().for_each(|v| *v = (*v / self.step).round() * self.step);
    }
}

/// Makes the transform. Option: `step`, in units of the normalised image (default: 0.25). `probability` is an option of every
/// transform.
pub(crate) fn build(options: &mut Options<'_>, _: &BuildContext<'_>) -> BuiltTransform {
    let step = options.number_where("step", 0.25, "a number above 0", |step| step > 0.0)?;
    Ok(Some(Arc::new(Posterize { step: step as f32 })))
}
