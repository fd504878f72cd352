//! Planning at a site, from the fingerprint of all.

use std::path::Path;

use nnunet::checkpoint::StateDict;
use nnunet::fingerprint::Fingerprint;
use nnunet::json::{Json, KeyOrder};
use nnunet::plan::Plans;
use nnunet::{Ctx, FingerprintJob, PlanJob};

use crate::error::FederatedError;
use crate::message::{Body, Message, PlanMade};
use crate::seal::sha256_hex;
use crate::settings::{FingerprintForm, Settings};
use crate::site::{Incoming, Site};

/// What a site decides for itself: plans that differ in nothing else are the same.
const OF_THE_SITE: [&str; 2] = ["dataset_name", "image_reader_writer"];

impl Site<'_> {
    /// Writes the merged fingerprint as that of the dataset, and plans from it; with local fingerprints, plans from the
    /// site's own. The plans know the number of all cases.
    ///
    /// # Errors
    /// A message of another step; plans that cannot be made or written.
    pub fn plan(&self, input: &Path, output: &Path, ctx: Ctx<'_>) -> Result<(), FederatedError> {
        let Incoming { settings, message } = self.receive(input)?;
        let cases = match (&message, settings.fingerprint) {
            (Some(Message { body: Body::MergedFingerprint(merged), .. }), form)
                if form != FingerprintForm::Local =>
            {
                let folder = self.project.folders().preprocessed()?.join(&self.dataset);
                merged.fingerprint().save(&Fingerprint::path(&folder))?;
                Some(merged.dataset.cases)
            }
            (Some(Message { body: Body::TotalSize(_), .. }), FingerprintForm::Local) => {
                self.project.fingerprint(&FingerprintJob::new(self.dataset.clone()), ctx)?;
                None
            }
            (Some(message), FingerprintForm::Local) => {
                return Err(message.not(input, "the size of all datasets"));
            }
            (Some(message), _) => return Err(message.not(input, "the merged fingerprint")),
            (None, _) => {
                return Err(settings_instead(input, "the merged fingerprint, or the size of all datasets"));
            }
        };
        let options = settings.planner_options(cases);
        let planned = self.project.plan(&PlanJob { dataset: self.dataset.clone(), options })?;
        let made = plan_made(&planned.plans, &settings)?;
        self.answer(&settings, Body::Plan(made), StateDict::new(), output)
    }
}

/// The error for the file of settings where a message is expected.
pub(crate) fn settings_instead(input: &Path, expected: &str) -> FederatedError {
    FederatedError::OtherMessage {
        path: input.to_owned(),
        found: "the settings".to_owned(),
        expected: expected.to_owned(),
    }
}

/// What others need to know of plans.
fn plan_made(plans: &Plans, settings: &Settings) -> Result<PlanMade, FederatedError> {
    let configuration = plans.configuration(&settings.configuration)?;
    let mut document = plans.document().clone();
    document.retain(|key, _| !OF_THE_SITE.contains(&key.as_str()));
    let text = Json::Object(document).to_python(KeyOrder::Sorted);
    Ok(PlanMade {
        sha256: sha256_hex(text.as_bytes()),
        patch_size: configuration.patch_size,
        batch_size: configuration.batch_size,
    })
}
