//! A site: a dataset that stays where it is, with what has been agreed on.

use std::path::Path;

use nnunet::checkpoint::StateDict;
use nnunet::dataset::cases::training_cases_with_warnings;
use nnunet::fingerprint::{ExtractOptions, extract_partial, merge as merge_parts};
use nnunet::{Ctx, DatasetName, Project};

use crate::error::FederatedError;
use crate::fingerprint::{
    DatasetIdentity, SiteFingerprint, cases_with_foreground, describe_as_published, describe_exactly,
    describe_privately,
};
use crate::message::{Body, Message};
use crate::seal::Key;
use crate::sent_log::{SENT_LOG, record};
use crate::settings::{FingerprintForm, Settings};

/// A site of a federation. Each function takes what came from the server (or the file of settings) as `input` and writes
/// the answer as the folder `output`; what is written is recorded in [`SENT_LOG`] beside the preprocessed dataset.
#[derive(Debug)]
pub struct Site<'a> {
    /// Folders, parts, and what runs networks.
    pub project: &'a Project,
    /// Its name in the settings.
    pub name: String,
    /// Its dataset.
    pub dataset: DatasetName,
    /// The key of the federation, if it has one.
    pub key: Option<Key>,
    /// The settings that the site has agreed to; messages with others are refused. Without them, those of the first
    /// message count.
    pub agreed: Option<Settings>,
}

/// What a site was given.
pub(crate) struct Incoming {
    pub(crate) settings: Settings,
    /// None of the file of settings.
    pub(crate) message: Option<Message>,
}

impl Site<'_> {
    /// Says how much data there is, or what they look like, as the settings ask: `exact` and `local` need the number of
    /// all cases first, so that the answer to the settings is the size; the others are answered at once.
    ///
    /// # Errors
    /// A message of another step; a dataset that cannot be read; interrupted.
    ///
    /// ```no_run
    /// # use nnunet_federated::Site;
    /// # use nnunet::{Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// let dataset = project.dataset("4")?;
    /// let site = Site { project: &project, name: "lisbon".to_owned(), dataset, key: None, agreed: None };
    /// let ctx = Ctx::new(&Silent, &cancel);
    /// site.fingerprint("federation.toml".as_ref(), "to_server".as_ref(), ctx)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fingerprint(&self, input: &Path, output: &Path, ctx: Ctx<'_>) -> Result<(), FederatedError> {
        let Incoming { settings, message } = self.receive(input)?;
        let (raw, json) = self.project.raw_dataset(&self.dataset)?;
        let cases = training_cases_with_warnings(&raw, &json, ctx.progress)?;
        let dataset = DatasetIdentity::new(&json, cases.len());
        let sharing_cases = match (settings.fingerprint, &message) {
            (FingerprintForm::Exact | FingerprintForm::Local, None) => {
                return self.answer(&settings, Body::Size(dataset), StateDict::new(), output);
            }
            (FingerprintForm::Paper | FingerprintForm::Private, None) => cases.len(),
            (FingerprintForm::Exact, Some(Message { body: Body::TotalSize(total), .. })) => total.cases,
            (_, Some(message)) => {
                return Err(
                    message.not(input, "the settings, or the size of all datasets for an exact merge")
                );
            }
        };
        let formats = self.project.registry().data.formats.clone();
        let options = ExtractOptions { sharing_cases: Some(sharing_cases), formats, ..Default::default() };
        let found = extract_partial(&cases, &json, &options, ctx)?;
        if settings.fingerprint == FingerprintForm::Exact {
            let (content, tensors) = describe_exactly(&found, sharing_cases);
            return self.answer(
                &settings,
                Body::Fingerprint(SiteFingerprint { dataset, content }),
                tensors,
                output,
            );
        }
        let with_foreground = cases_with_foreground(&found);
        let own = merge_parts(vec![found])?;
        let content = match settings.fingerprint {
            FingerprintForm::Private => describe_privately(&own, &with_foreground),
            _ => describe_as_published(&own, &with_foreground),
        };
        self.answer(
            &settings,
            Body::Fingerprint(SiteFingerprint { dataset, content }),
            StateDict::new(),
            output,
        )
    }

    /// Reads the settings or a message and checks that they are for this site.
    pub(crate) fn receive(&self, input: &Path) -> Result<Incoming, FederatedError> {
        let incoming = if input.is_dir() {
            let message = Message::read(input, self.key.as_ref())?;
            Incoming { settings: message.settings.clone(), message: Some(message) }
        } else {
            Incoming { settings: Settings::read(input)?, message: None }
        };
        if let Some(agreed) = self.agreed.as_ref().filter(|agreed| **agreed != incoming.settings) {
            let problem = format!(
                "its settings (SHA-256 {}) are not those that this site has agreed to ({})",
                incoming.settings.id(),
                agreed.id()
            );
            return Err(FederatedError::Refused { path: input.to_owned(), problem });
        }
        incoming.settings.check_site(&self.name)?;
        Ok(incoming)
    }

    /// Writes the answer and records it.
    pub(crate) fn answer(
        &self,
        settings: &Settings,
        body: Body,
        tensors: StateDict,
        output: &Path,
    ) -> Result<(), FederatedError> {
        let message = Message { settings: settings.clone(), sender: self.name.clone(), body, tensors };
        let log = self.project.folders().preprocessed()?.join(&self.dataset).join(SENT_LOG);
        let files = message.write(output, self.key.as_ref())?;
        record(&log, &message, output, &files).inspect_err(|_| {
            // What is not on record must not leave the site.
            let _ = std::fs::remove_dir_all(output);
        })
    }
}
