//! Federated averaging: the weights of a round.
//!
//! Round 0 finds the tensors that all networks have with one shape and takes their values from the first site. Each later
//! round averages them over the sites that have answered, `sum n_k w_k / sum n_k` with the training cases n_k or with 1,
//! summed in f64. All other tensors stay where they are, as does the state of optimisers. Sites are read one after the other,
//! so that memory does not grow with their number.

use std::path::Path;

use indexmap::IndexMap;
use nnunet::checkpoint::StateDict;
use nnunet::graph::optimiser::StateTensor;

use crate::error::FederatedError;
use crate::merge::{answering, check_sender};
use crate::message::{Body, GlobalWeights, LeftOut, Message, Update, digest_of};
use crate::seal::Key;
use crate::settings::{SERVER, Settings, Weighting};

/// What became of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregated {
    /// The facts of the new weights.
    pub global: GlobalWeights,
    /// Number of tensors that are shared.
    pub tensors: usize,
    /// Training loss of the sites, averaged as the weights are.
    pub train_loss: Option<f64>,
}

/// An answer whose tensors are not in memory.
struct Answer {
    site: String,
    update: Update,
    facts: Message,
}

/// Averages the answers of the sites (a folder for each, with its name) and writes the weights for the next round as the
/// folder `output`. A site without an answer is left out, and so is one whose answer is of an earlier round.
///
/// # Errors
/// Fewer sites than the settings ask for, all of them in round 0; answers that are damaged, forged or began with other
/// weights; no tensor that all networks have.
pub fn aggregate(answers: &Path, output: &Path, key: Option<&Key>) -> Result<Aggregated, FederatedError> {
    let mut found: Vec<Answer> = Vec::new();
    for site in answering(answers)? {
        let path = answers.join(&site);
        let mut facts = Message::read(&path, key)?;
        facts.tensors = StateDict::new();
        check_sender(&path, &site, &facts, found.first().map(|answer| &answer.facts))?;
        let Body::Update(update) = facts.body.clone() else {
            return Err(facts.not(&path, "weights of a site"));
        };
        found.push(Answer { site, update, facts });
    }
    let round = found.iter().map(|answer| answer.update.round).max();
    let (Some(round), Some(first)) = (round, found.first()) else {
        return Err(FederatedError::MissingSites {
            path: answers.to_owned(),
            missing: "any site".to_owned(),
            expected: "at least one".to_owned(),
        });
    };
    let settings = first.facts.settings.clone();
    let place = |site: &str| settings.sites.iter().position(|known| known == site);
    found.sort_by_key(|answer| place(&answer.site));
    let (taking_part, late): (Vec<Answer>, Vec<Answer>) =
        found.into_iter().partition(|answer| answer.update.round == round);
    let left_out = left_out(&settings, &taking_part, &late);
    let needed = if round == 0 { settings.sites.len() } else { settings.min_sites() };
    if taking_part.len() < needed {
        let missing: Vec<&str> = left_out.iter().map(|left| left.site.as_str()).collect();
        return Err(FederatedError::MissingSites {
            path: answers.to_owned(),
            missing: missing.join(", "),
            expected: format!("{needed} sites"),
        });
    }
    check_bases(answers, &taking_part)?;
    let tensors = match round {
        0 => initial(answers, &taking_part, key)?,
        _ => average(answers, &taking_part, settings.weights, key)?,
    };
    if tensors.is_empty() {
        return Err(FederatedError::NothingShared);
    }
    let global = GlobalWeights {
        round,
        sites: taking_part.iter().map(|answer| answer.site.clone()).collect(),
        left_out,
        cases: taking_part.iter().fold(0, |sum: usize, answer| sum.saturating_add(answer.update.cases)),
        digest: digest_of(&tensors),
    };
    let shares = shares(&taking_part, settings.weights);
    let losses =
        taking_part.iter().zip(&shares).map(|(answer, share)| Some(answer.update.train_loss? * share));
    let train_loss = losses.sum();
    let count = tensors.len();
    let body = Body::Global(global.clone());
    Message { settings, sender: SERVER.to_owned(), body, tensors }.write(output, key)?;
    Ok(Aggregated { global, tensors: count, train_loss })
}

/// The sites that take no part in the round.
fn left_out(settings: &Settings, taking_part: &[Answer], late: &[Answer]) -> Vec<LeftOut> {
    let has = |answers: &[Answer], site: &str| answers.iter().any(|answer| answer.site == site);
    let sites = settings.sites.iter().filter(|site| !has(taking_part, site));
    sites
        .map(|site| {
            let why = match late.iter().find(|answer| answer.site == *site) {
                Some(answer) => format!("its weights are of round {}", answer.update.round),
                None => "no answer".to_owned(),
            };
            LeftOut { site: site.clone(), why }
        })
        .collect()
}

/// Checks that all sites began with the same weights.
fn check_bases(answers: &Path, taking_part: &[Answer]) -> Result<(), FederatedError> {
    let [first, others @ ..] = taking_part else { return Ok(()) };
    match others.iter().find(|answer| answer.update.base != first.update.base) {
        None => Ok(()),
        Some(other) => Err(FederatedError::Refused {
            path: answers.join(&other.site),
            problem: format!("its round began with other weights than that of site {}", first.site),
        }),
    }
}

/// The tensors that all networks have with one shape, as the first site has them.
fn initial(answers: &Path, sites: &[Answer], key: Option<&Key>) -> Result<StateDict, FederatedError> {
    let [first, others @ ..] = sites else { return Ok(StateDict::new()) };
    let everywhere = |name: &str, shape: &[usize]| {
        let has = |answer: &Answer| answer.update.inventory.iter().any(|f| f.key == name && f.shape == shape);
        others.iter().all(has)
    };
    let path = answers.join(&first.site);
    let weights = Message::read(&path, key)?.tensors;
    if weights.is_empty() {
        let problem =
            "the first site of the settings gives the weights that all begin with, and there are none";
        return Err(FederatedError::Refused { path, problem: problem.to_owned() });
    }
    let mut shared = StateDict::new();
    for (name, tensor) in weights.tensors().filter(|(name, tensor)| everywhere(name, &tensor.shape)) {
        shared.insert(name, tensor.clone());
    }
    Ok(shared)
}

/// How much each site counts; all together 1.
fn shares(sites: &[Answer], weighting: Weighting) -> Vec<f64> {
    let weight = |answer: &Answer| match weighting {
        Weighting::Cases => answer.update.cases as f64,
        Weighting::Equal => 1.0,
    };
    let total: f64 = sites.iter().map(weight).sum();
    sites.iter().map(|answer| weight(answer) / total).collect()
}

fn average(
    answers: &Path,
    sites: &[Answer],
    weighting: Weighting,
    key: Option<&Key>,
) -> Result<StateDict, FederatedError> {
    let mut sums: IndexMap<String, (Vec<usize>, Vec<f64>)> = IndexMap::new();
    for (number, (answer, share)) in sites.iter().zip(shares(sites, weighting)).enumerate() {
        let path = answers.join(&answer.site);
        let weights = Message::read(&path, key)?.tensors;
        let refused = |problem: String| FederatedError::Refused { path: path.clone(), problem };
        if !share.is_finite() {
            return Err(refused("it has no training cases".to_owned()));
        }
        if number > 0 && weights.len() != sums.len() {
            let other = &sites[0].site;
            return Err(refused(format!("{} tensors, site {other} has {}", weights.len(), sums.len())));
        }
        for (name, tensor) in weights.tensors() {
            if number == 0 {
                sums.insert(name.to_owned(), (tensor.shape.clone(), vec![0.0; tensor.data.len()]));
            }
            let Some((shape, sum)) = sums.get_mut(name) else {
                return Err(refused(format!("tensor {name} is not shared")));
            };
            if *shape != tensor.shape {
                return Err(refused(format!(
                    "tensor {name} has shape {:?}, expected {shape:?}",
                    tensor.shape
                )));
            }
            sum.iter_mut().zip(&tensor.data).for_each(|(sum, value)| *sum += share * f64::from(*value));
        }
    }
    let mut averaged = StateDict::new();
    for (name, (shape, sum)) in sums {
        averaged
            .insert(&name, StateTensor { shape, data: sum.into_iter().map(|value| value as f32).collect() });
    }
    Ok(averaged)
}
