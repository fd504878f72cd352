//! The server's part before and after training: one message of those of all sites.

use std::path::Path;

use nnunet::checkpoint::StateDict;
use nnunet::files::folders_in;

use crate::error::FederatedError;
use crate::fingerprint::{self, DatasetIdentity};
use crate::message::{Body, Message, PlanMade, SiteValidation, ValidatedClass};
use crate::seal::Key;
use crate::settings::{FingerprintForm, SERVER, Settings};

/// What was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The message of the server.
    pub body: Body,
    /// Sites that took part, in the order of the settings.
    pub sites: Vec<String>,
}

/// Reads the answers of all sites (a folder for each, with its name) and writes one message as the folder `output`: of sizes
/// their sum, of fingerprints that of all, of plans the agreement, of validations the average over cases.
///
/// # Errors
/// A site without an answer, but for validations; answers that are damaged, forged, or do not fit together.
pub fn merge(answers: &Path, output: &Path, key: Option<&Key>) -> Result<Merged, FederatedError> {
    let (settings, messages) = read_answers(answers, key)?;
    let Some(first) = messages.first() else { return Err(missing(answers, &settings, &messages)) };
    if !matches!(first.body, Body::Validation(_)) && messages.len() < settings.sites.len() {
        return Err(missing(answers, &settings, &messages));
    }
    let kind = std::mem::discriminant(&first.body);
    if let Some(other) = messages.iter().find(|message| std::mem::discriminant(&message.body) != kind) {
        return Err(other.not(&answers.join(&other.sender), &first.body.what()));
    }
    let body = match &first.body {
        Body::Size(_) => {
            let sites = messages.iter().filter_map(|message| match &message.body {
                Body::Size(size) => Some((message.sender.as_str(), size)),
                _ => None,
            });
            Body::TotalSize(DatasetIdentity::total(sites)?)
        }
        Body::Fingerprint(_) => Body::MergedFingerprint(fingerprint::merge(&messages)?),
        Body::Plan(_) => Body::AgreedPlan(agreed_plan(&messages, &settings)?),
        Body::Validation(_) => Body::MergedValidation(averaged(&messages)),
        _ => return Err(first.not(&answers.join(&first.sender), "sizes, fingerprints, plans or validations")),
    };
    let message = Message { settings, sender: SERVER.to_owned(), body, tensors: StateDict::new() };
    message.write(output, key)?;
    let sites = messages.into_iter().map(|message| message.sender).collect();
    Ok(Merged { body: message.body, sites })
}

/// The answers in a folder, in the order of the sites.
fn read_answers(folder: &Path, key: Option<&Key>) -> Result<(Settings, Vec<Message>), FederatedError> {
    let mut messages = Vec::new();
    for name in answering(folder)? {
        let path = folder.join(&name);
        let message = Message::read(&path, key)?;
        check_sender(&path, &name, &message, messages.first())?;
        messages.push(message);
    }
    let settings = messages.first().map(|message| message.settings.clone());
    let settings = settings.ok_or_else(|| FederatedError::MissingSites {
        path: folder.to_owned(),
        missing: "any site".to_owned(),
        expected: "at least one".to_owned(),
    })?;
    messages.sort_by_key(|message| settings.sites.iter().position(|site| *site == message.sender));
    Ok((settings, messages))
}

/// The names of the sites that have answered, sorted.
pub(crate) fn answering(folder: &Path) -> Result<Vec<String>, FederatedError> {
    let mut names = folders_in(folder).map_err(FederatedError::io(folder))?;
    // Answers that are being written have names with a dot in front.
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    Ok(names)
}

/// Checks that the message in the folder `name` is of the site of that name, and of the same federation as another one.
pub(crate) fn check_sender(
    path: &Path,
    name: &str,
    message: &Message,
    other: Option<&Message>,
) -> Result<(), FederatedError> {
    let refused = |problem: String| Err(FederatedError::Refused { path: path.to_owned(), problem });
    if message.sender != name {
        return refused(format!("it is from site {:?}, expected {name:?}", message.sender));
    }
    match other {
        Some(other) if other.settings != message.settings => {
            refused(format!("its settings are not those of site {}", other.sender))
        }
        _ => Ok(()),
    }
}

/// The error for sites that have not answered.
fn missing(folder: &Path, settings: &Settings, messages: &[Message]) -> FederatedError {
    let has_answered = |site: &&String| messages.iter().any(|message| message.sender == **site);
    let missing: Vec<&str> =
        settings.sites.iter().filter(|site| !has_answered(site)).map(String::as_str).collect();
    FederatedError::MissingSites {
        path: folder.to_owned(),
        missing: missing.join(", "),
        expected: settings.sites.join(", "),
    }
}

/// The plans, which are the same everywhere unless each site plans from its own cases.
fn agreed_plan(messages: &[Message], settings: &Settings) -> Result<PlanMade, FederatedError> {
    let plans: Vec<(&str, &PlanMade)> = messages
        .iter()
        .filter_map(|message| match &message.body {
            Body::Plan(plan) => Some((message.sender.as_str(), plan)),
            _ => None,
        })
        .collect();
    let Some((first, plan)) = plans.first() else { return Err(FederatedError::NothingShared) };
    let differs = |(_, other): &&(&str, &PlanMade)| other.sha256 != plan.sha256;
    match plans.iter().find(differs).filter(|_| settings.fingerprint != FingerprintForm::Local) {
        None => Ok((*plan).clone()),
        Some((site, other)) => {
            let shown = |plan: &PlanMade| {
                format!("patch {:?}, batch {}, SHA-256 {}", plan.patch_size, plan.batch_size, plan.sha256)
            };
            Err(FederatedError::SitesDiffer {
                site: (*site).to_owned(),
                what: "the plan".to_owned(),
                found: shown(other),
                other: (*first).to_owned(),
                expected: shown(plan),
            })
        }
    }
}

/// The Dice of each class over the cases of all sites that have one.
fn averaged(messages: &[Message]) -> SiteValidation {
    let sites: Vec<&SiteValidation> = messages
        .iter()
        .filter_map(|message| match &message.body {
            Body::Validation(validation) => Some(validation),
            _ => None,
        })
        .collect();
    let names = sites.first().map_or(&[][..], |site| &site.classes);
    let classes: Vec<ValidatedClass> = names
        .iter()
        .map(|ValidatedClass { class, .. }| {
            let of_class = |site: &&SiteValidation| {
                let found = site.classes.iter().find(|other| other.class == *class)?;
                Some((site.cases as f64, found.dice?))
            };
            let (mut sum, mut cases) = (0.0, 0.0);
            for (weight, dice) in sites.iter().filter_map(of_class) {
                sum += weight * dice;
                cases += weight;
            }
            ValidatedClass { class: class.clone(), dice: (cases > 0.0).then(|| sum / cases) }
        })
        .collect();
    let defined: Vec<f64> = classes.iter().filter_map(|class| class.dice).collect();
    let dice = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64);
    SiteValidation {
        cases: sites.iter().fold(0, |sum: usize, site| sum.saturating_add(site.cases)),
        classes,
        dice,
    }
}
