//! Fresh weights: He initialisation as nnU-Net uses it.
//!
//! Convolution weights are normal with standard deviation sqrt(2 / (1 + 0.01^2)) / sqrt(fan_in), biases
//! zero, norm weights one; the norm before each residual addition starts at zero. What each parameter
//! gets is part of the graph ([`crate::graph::InitialValue`]). He et al. 2015, arXiv:1502.01852.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use crate::graph::{Graph, InitialValue};
use crate::parameters::Parameters;

/// Fresh parameters for `graph`. Every parameter has its own random stream, derived from `seed` and
/// its index, so one seed gives one result.
pub fn initialise(graph: &Graph, seed: u64) -> Parameters {
    Parameters::from_fn(graph, |id, value| match graph.parameter(id).initial {
        InitialValue::Constant(c) => value.fill(c),
        InitialValue::HeNormal { fan_in, slope } => {
            let deviation = (2.0 / (1.0 + slope * slope) / fan_in as f64).sqrt();
            let mut stream = Pcg64::new(u128::from(seed), id.0 as u128);
            // PCG streams of equal state are related; a generator seeded from one is not.
            let mut random = Pcg64::from_rng(&mut stream);
            for v in value {
                let normal: f64 = StandardNormal.sample(&mut random);
                *v = (normal * deviation) as f32;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphBuilder;

    fn graph() -> Graph {
        let mut builder = GraphBuilder::new(1, 3);
        let he = InitialValue::HeNormal { fan_in: 50, slope: 0.01 };
        builder.parameter("a".into(), vec![100, 50], he);
        builder.parameter("b".into(), vec![100, 50], he);
        builder.parameter("c".into(), vec![3], InitialValue::Constant(1.0));
        builder.finish(Vec::new())
    }

    #[test]
    fn deviation_follows_fan_in() {
        let parameters = initialise(&graph(), 7);
        let a = parameters.get("a").unwrap().value();
        let mean = a.iter().map(|&v| f64::from(v)).sum::<f64>() / a.len() as f64;
        let variance = a.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / a.len() as f64;
        let expected = 2.0 / 1.0001 / 50.0;
        assert!(mean.abs() < 4.0 * (expected / a.len() as f64).sqrt(), "mean {mean}");
        assert!((variance / expected - 1.0).abs() < 0.08, "variance {variance}, expected {expected}");
        assert_eq!(parameters.get("c").unwrap().value(), [1.0; 3]);
    }

    #[test]
    fn seeds_and_parameters_have_their_own_streams() {
        let (one, again, two) = (initialise(&graph(), 1), initialise(&graph(), 1), initialise(&graph(), 2));
        assert_eq!(one, again);
        assert_ne!(one.get("a").unwrap().value(), two.get("a").unwrap().value());
        assert_ne!(one.get("a").unwrap().value(), one.get("b").unwrap().value());
    }
}
