//! What server and sites send each other: a folder with `message.json` and, where there are numbers, `tensors.safetensors`.
//!
//! Both are read as data: types are fixed, unknown keys are refused, sizes are checked before memory is taken, every number
//! has to be finite. The seal covers `message.json`, which states size and SHA-256 of the tensors.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nnunet::checkpoint::{StateDict, read_safetensors, write_safetensors};
use nnunet::files::{TemporaryFolder, write_atomic};
use serde::{Deserialize, Serialize};

use crate::error::FederatedError;
use crate::fingerprint::{DatasetIdentity, MergedFingerprint, SiteFingerprint};
use crate::seal::{self, Key, sha256_hex, sha256_of_file};
use crate::settings::{SERVER, Settings};

/// The protocol, with its version.
const PROTOCOL: &str = "nnunet-federated 1";
/// The facts of a message.
pub(crate) const FACTS: &str = "message.json";
/// The numbers of a message.
pub(crate) const TENSORS: &str = "tensors.safetensors";
/// Most bytes of facts: lists of a million cases.
const MAX_FACTS: u64 = 256 << 20;

/// A message between server and sites.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What the sender was given as the settings of the federation.
    pub settings: Settings,
    /// Who it is from: a site, or `server`.
    pub sender: String,
    /// Facts.
    pub body: Body,
    /// Numbers; may be empty.
    pub tensors: StateDict,
}

/// The facts of a message, by what they are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content", rename_all = "kebab-case")]
pub enum Body {
    /// Of a site: how much data it has.
    Size(DatasetIdentity),
    /// Of the server: the data of all sites together.
    TotalSize(DatasetIdentity),
    /// Of a site: what its data look like.
    Fingerprint(SiteFingerprint),
    /// Of the server: what the data of all sites look like.
    MergedFingerprint(MergedFingerprint),
    /// Of a site: the plans that it has made.
    Plan(PlanMade),
    /// Of the server: the plans that all sites have made.
    AgreedPlan(PlanMade),
    /// Of a site: weights after a round.
    Update(Update),
    /// Of the server: weights for the next round.
    Global(GlobalWeights),
    /// Of a site: how good the last weights are on its cases.
    Validation(SiteValidation),
    /// Of the server: how good they are on the cases of all sites.
    MergedValidation(SiteValidation),
}

impl Body {
    /// What it is, in words.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Size(_) => "the size of a dataset".to_owned(),
            Self::TotalSize(_) => "the size of all datasets".to_owned(),
            Self::Fingerprint(_) => "the fingerprint of a site".to_owned(),
            Self::MergedFingerprint(_) => "the merged fingerprint".to_owned(),
            Self::Plan(_) => "the plans of a site".to_owned(),
            Self::AgreedPlan(_) => "the plans of all sites".to_owned(),
            Self::Update(update) => format!("the weights of a site after round {}", update.round),
            Self::Global(global) => format!("the weights of all sites after round {}", global.round),
            Self::Validation(_) => "the validation of a site".to_owned(),
            Self::MergedValidation(_) => "the validation of all sites".to_owned(),
        }
    }

    fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::TotalSize(_)
                | Self::MergedFingerprint(_)
                | Self::AgreedPlan(_)
                | Self::Global(_)
                | Self::MergedValidation(_)
        )
    }
}

/// Plans of a site, as far as others need to know them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMade {
    /// SHA-256 of the plans without the name of the dataset and the reader of its images, which are the site's own.
    pub sha256: String,
    /// Patch size of the configuration, axes in the order of the network.
    pub patch_size: Vec<usize>,
    /// Batch size of the configuration.
    pub batch_size: usize,
}

/// Weights of a site after a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The round; 0 before any training.
    pub round: usize,
    /// Digest of the [`GlobalWeights`] that the round began with; none of round 0.
    pub base: Option<String>,
    /// Training cases of the site's fold.
    pub cases: usize,
    /// Every tensor that the site's network could share; of round 0 only.
    pub inventory: Vec<TensorFact>,
    /// Mean training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Mean validation loss of the last epoch.
    pub validation_loss: Option<f64>,
}

/// A tensor of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFact {
    /// Under which it is shared.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Weights of all sites after a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalWeights {
    /// The round.
    pub round: usize,
    /// Sites that took part.
    pub sites: Vec<String>,
    /// Sites that did not, and why.
    pub left_out: Vec<LeftOut>,
    /// Training cases of the sites that took part.
    pub cases: usize,
    /// SHA-256 of the tensors.
    pub digest: String,
}

/// A site that took no part in a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The site.
    pub site: String,
    /// Why.
    pub why: String,
}

/// Dice of weights on validation cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteValidation {
    /// Validation cases.
    pub cases: usize,
    /// Mean Dice of each foreground class or region.
    pub classes: Vec<ValidatedClass>,
    /// Mean Dice over these classes; none where it is not defined.
    pub dice: Option<f64>,
}

/// Dice of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatedClass {
    /// The label, or those of a region.
    pub class: String,
    /// Mean Dice over the cases; none where no case has the class.
    pub dice: Option<f64>,
}

/// `message.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    protocol: String,
    /// Version of the program that wrote it.
    program: String,
    sender: String,
    settings: Settings,
    body: Body,
    tensors: Option<TensorFile>,
    seal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorFile {
    bytes: u64,
    sha256: String,
}

/// A file that was written for somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentFile {
    pub(crate) name: &'static str,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Message {
    /// Reads the message in `folder` and checks its seal, its numbers and its sender; `key` is that of the federation, if it
    /// has one.
    ///
    /// # Errors
    /// A message that is damaged, forged or foreign; nothing of it is used.
    pub fn read(folder: &Path, key: Option<&Key>) -> Result<Self, FederatedError> {
        let refused = |problem: String| FederatedError::Refused { path: folder.to_owned(), problem };
        let facts = read_facts(folder)?;
        let mut facts: Facts = serde_json::from_slice(&facts)
            .map_err(|error| refused(format!("{FACTS} is not a message of this program ({error})")))?;
        if facts.protocol != PROTOCOL {
            return Err(refused(format!("found protocol {:?}, expected {PROTOCOL:?}", facts.protocol)));
        }
        let sealed = std::mem::take(&mut facts.seal);
        seal::check(&to_bytes(&facts)?, &sealed, key).map_err(|problem| refused(problem.to_owned()))?;
        facts.settings.check().map_err(refused)?;
        let known = if facts.body.is_of_server() {
            facts.sender == SERVER
        } else {
            facts.settings.sites.contains(&facts.sender)
        };
        if !known {
            return Err(refused(format!("{} cannot be from {:?}", facts.body.what(), facts.sender)));
        }
        let tensors = read_tensors(folder, facts.tensors.as_ref())?;
        Ok(Self { settings: facts.settings, sender: facts.sender, body: facts.body, tensors })
    }

    /// Writes the message as `folder`, whole or not at all, and says what was written. An earlier message there is replaced,
    /// anything else is not.
    pub(crate) fn write(&self, folder: &Path, key: Option<&Key>) -> Result<Vec<SentFile>, FederatedError> {
        check_output(folder)?;
        let failed = || FederatedError::io(folder);
        let temporary = TemporaryFolder::beside(folder).map_err(failed())?;
        let mut files = Vec::new();
        let mut tensors = None;
        if !self.tensors.is_empty() {
            let path = temporary.path().join(TENSORS);
            write_safetensors(&path, &self.tensors)?;
            let bytes = std::fs::metadata(&path).map_err(failed())?.len();
            let sha256 = sha256_of_file(&path).map_err(failed())?;
            tensors = Some(TensorFile { bytes, sha256: sha256.clone() });
            files.push(SentFile { name: TENSORS, bytes, sha256 });
        }
        let mut facts = Facts {
            protocol: PROTOCOL.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            sender: self.sender.clone(),
            settings: self.settings.clone(),
            body: self.body.clone(),
            tensors,
            seal: String::new(),
        };
        facts.seal = seal::seal(&to_bytes(&facts)?, key);
        let bytes = to_bytes(&facts)?;
        write_atomic(&temporary.path().join(FACTS), &bytes).map_err(failed())?;
        temporary.replace(folder).map_err(failed())?;
        files.push(SentFile { name: FACTS, bytes: bytes.len() as u64, sha256: sha256_hex(&bytes) });
        Ok(files)
    }

    /// The error for a message of another step in `folder`.
    pub(crate) fn not(&self, folder: &Path, expected: &str) -> FederatedError {
        FederatedError::OtherMessage {
            path: folder.to_owned(),
            found: self.body.what(),
            expected: expected.to_owned(),
        }
    }
}

/// Checks that a message can be written as `folder`: there is nothing, an empty folder, or an earlier message.
///
/// # Errors
/// Anything else that a message would replace.
pub fn check_output(folder: &Path) -> Result<(), FederatedError> {
    let occupied = |found: String| FederatedError::Occupied { path: folder.to_owned(), found };
    match std::fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FederatedError::io(folder)(error)),
        Ok(there) if !there.is_dir() => return Err(occupied("a file".to_owned())),
        Ok(_) => {}
    }
    for entry in std::fs::read_dir(folder).map_err(FederatedError::io(folder))? {
        let name = entry.map_err(FederatedError::io(folder))?.file_name();
        if name != FACTS && name != TENSORS {
            return Err(occupied(name.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}

/// Names and bytes of the files of the message in `folder`.
pub(crate) fn bytes_of(folder: &Path) -> u64 {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    size(FACTS) + size(TENSORS)
}

/// SHA-256 of tensors: their keys, shapes and numbers, whatever the order of a file.
pub(crate) fn digest_of(tensors: &StateDict) -> String {
    let mut lines: Vec<String> = tensors
        .tensors()
        .map(|(key, tensor)| {
            let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            format!("{key} {:?} {}\n", tensor.shape, sha256_hex(&bytes))
        })
        .collect();
    lines.sort_unstable();
    sha256_hex(lines.concat().as_bytes())
}

fn to_bytes(facts: &Facts) -> Result<Vec<u8>, FederatedError> {
    serde_json::to_vec_pretty(facts).map_err(|error| FederatedError::Refused {
        path: FACTS.into(),
        problem: format!("cannot be written as JSON: {error}"),
    })
}

fn read_facts(folder: &Path) -> Result<Vec<u8>, FederatedError> {
    let path = folder.join(FACTS);
    let file = File::open(&path).map_err(FederatedError::io(&path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FACTS + 1).read_to_end(&mut bytes).map_err(FederatedError::io(&path))?;
    if bytes.len() as u64 > MAX_FACTS {
        let problem = format!("{FACTS} has more than {MAX_FACTS} bytes");
        return Err(FederatedError::Refused { path: folder.to_owned(), problem });
    }
    Ok(bytes)
}

fn read_tensors(folder: &Path, stated: Option<&TensorFile>) -> Result<StateDict, FederatedError> {
    let refused = |problem: String| FederatedError::Refused { path: folder.to_owned(), problem };
    let path = folder.join(TENSORS);
    let Some(stated) = stated else {
        return match path.exists() {
            true => Err(refused(format!("{TENSORS} is there, but {FACTS} states no tensors"))),
            false => Ok(StateDict::new()),
        };
    };
    let found = std::fs::metadata(&path).map_err(FederatedError::io(&path))?.len();
    if found != stated.bytes {
        return Err(refused(format!("{TENSORS} has {found} bytes, expected {}", stated.bytes)));
    }
    let sha256 = sha256_of_file(&path).map_err(FederatedError::io(&path))?;
    if sha256 != stated.sha256 {
        return Err(refused(format!("{TENSORS} has SHA-256 {sha256}, expected {}", stated.sha256)));
    }
    let tensors = read_safetensors(&path)?;
    for (key, tensor) in tensors.tensors() {
        if tensor.data.iter().any(|value| !value.is_finite()) {
            return Err(refused(format!("tensor {key} has numbers that are not finite")));
        }
    }
    Ok(tensors)
}
