//! Parameters that learn at a rate of their own, or not at all.

use std::fmt;
use std::sync::Arc;

use nnunet_base::spelling::closest;
use nnunet_graph::Graph;

use super::error::TrainError;

/// Parameters with the factor by which their learning rate differs from that of the schedule.
#[derive(Debug, Clone)]
pub struct ParameterGroup {
    /// Which parameters belong to the group.
    pub members: Members,
    /// Factor of the learning rate; 0 freezes the group.
    pub rate_factor: f64,
}

/// Which parameters belong to a group, by PyTorch's names, e.g. `encoder.stages.0.0.convs.0.conv.weight`.
#[derive(Clone)]
pub enum Members {
    /// Those whose name begins with one of these.
    Prefixes(Vec<String>),
    /// Those whose name the function takes.
    Chosen(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Members {
    fn contain(&self, name: &str) -> bool {
        match self {
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())),
            Self::Chosen(choose) => choose(name),
        }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefixes(prefixes) => f.debug_tuple("Prefixes").field(prefixes).finish(),
            Self::Chosen(_) => f.debug_struct("Chosen").finish_non_exhaustive(),
        }
    }
}

/// The factor of each parameter of `graph` by its index, that of the first group it belongs to.
///
/// # Errors
/// A prefix that no parameter has, and a factor that is no rate.
pub(super) fn group_factors(graph: &Graph, groups: &[ParameterGroup]) -> Result<Vec<f64>, TrainError> {
    for group in groups {
        check(graph, group)?;
    }
    let factor = |name: &str| groups.iter().find(|g| g.members.contain(name)).map_or(1.0, |g| g.rate_factor);
    Ok(graph.parameters().iter().map(|spec| factor(&spec.name)).collect())
}

fn check(graph: &Graph, group: &ParameterGroup) -> Result<(), TrainError> {
    if !(group.rate_factor.is_finite() && group.rate_factor >= 0.0) {
        let problem = format!("a rate factor of {}; expected a number of at least 0", group.rate_factor);
        return Err(TrainError::ParameterGroup { problem });
    }
    let Members::Prefixes(prefixes) = &group.members else { return Ok(()) };
    let names = || graph.parameters().iter().map(|spec| spec.name.as_str());
    let unused = |prefix: &&String| !names().any(|name| name.starts_with(prefix.as_str()));
    match prefixes.iter().find(unused) {
        None => Ok(()),
        Some(prefix) => {
            let meant = closest(prefix, names().flat_map(beginnings));
            let meant = meant.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
            Err(TrainError::ParameterGroup {
                problem: format!("no parameter of the network begins with {prefix:?}{meant}"),
            })
        }
    }
}

/// The name and what stands before each of its dots.
fn beginnings(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[..dot]).chain(std::iter::once(name))
}
