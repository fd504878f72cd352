//! The optimisers that can be chosen by name, with their options. The learning rate is none of them: it belongs to the
//! training and its schedule.

use std::sync::Arc;

use nnunet_base::parts::{Named, OptionError, Options};

use super::{AdamOptions, AdanOptions, OptimiserSpec, SgdOptions};

/// Makes an optimiser from its options.
pub type OptimiserBuilder = Arc<dyn Fn(&mut Options<'_>) -> Result<OptimiserSpec, OptionError> + Send + Sync>;

/// nnU-Net's weight decay, which it hands to every optimiser.
const WEIGHT_DECAY: f64 = 3e-5;

/// The built-in optimisers.
pub fn optimisers() -> Named<OptimiserBuilder> {
    Named::<OptimiserBuilder>::new("optimiser")
        .with("sgd", "stochastic gradient descent with Nesterov momentum, nnU-Net's default", Arc::new(sgd))
        .with(
            "adam",
            "Adam, with weight decay as a part of the gradient",
            Arc::new(|options: &mut Options<'_>| adam(options, AdamOptions::adam())),
        )
        .with(
            "adamw",
            "Adam with decoupled weight decay",
            Arc::new(|options: &mut Options<'_>| adam(options, AdamOptions::adamw())),
        )
        .with("adan", "adaptive Nesterov momentum (Xie et al. 2022)", Arc::new(adan))
}

fn sgd(options: &mut Options<'_>) -> Result<OptimiserSpec, OptionError> {
    let default = SgdOptions::default();
    let momentum =
        options.number_where("momentum", default.momentum, BELOW_1, |m| (0.0..1.0).contains(&m))?;
    let nesterov = options.switch("nesterov", default.nesterov && momentum > 0.0)?;
    if nesterov && momentum == 0.0 {
        return Err(options.invalid("nesterov", "false where momentum is 0"));
    }
    Ok(OptimiserSpec::Sgd(SgdOptions { momentum, weight_decay: weight_decay(options)?, nesterov }))
}

fn adam(options: &mut Options<'_>, default: AdamOptions) -> Result<OptimiserSpec, OptionError> {
    let [b1, b2] =
        betas(options, [default.betas.0, default.betas.1], "two numbers of at least 0 and below 1", |b| {
            (0.0..1.0).contains(&b)
        })?;
    Ok(OptimiserSpec::Adam(AdamOptions {
        betas: (b1, b2),
        epsilon: epsilon(options, default.epsilon)?,
        weight_decay: weight_decay(options)?,
        decay: default.decay,
        amsgrad: options.switch("amsgrad", false)?,
    }))
}

fn adan(options: &mut Options<'_>) -> Result<OptimiserSpec, OptionError> {
    let AdanOptions { betas: (b1, b2, b3), epsilon: default, .. } = AdanOptions::default();
    let expected = "three numbers above 0 and at most 1, the shares of the new values";
    let [b1, b2, b3] = betas(options, [b1, b2, b3], expected, |b| b > 0.0 && b <= 1.0)?;
    Ok(OptimiserSpec::Adan(AdanOptions {
        betas: (b1, b2, b3),
        epsilon: epsilon(options, default)?,
        weight_decay: weight_decay(options)?,
    }))
}

const BELOW_1: &str = "a number of at least 0 and below 1";

fn weight_decay(options: &mut Options<'_>) -> Result<f64, OptionError> {
    options.number_where("weight_decay", WEIGHT_DECAY, "a number of at least 0", |decay| decay >= 0.0)
}

fn epsilon(options: &mut Options<'_>, default: f64) -> Result<f64, OptionError> {
    options.number_where("eps", default, "a number above 0", |epsilon| epsilon > 0.0)
}

fn betas<const N: usize>(
    options: &mut Options<'_>,
    default: [f64; N],
    expected: &'static str,
    valid: impl Fn(f64) -> bool,
) -> Result<[f64; N], OptionError> {
    const NAME: &str = "betas";
    let Some(given) = options.optional_numbers(NAME)? else { return Ok(default) };
    match <[f64; N]>::try_from(given) {
        Ok(betas) if betas.iter().all(|beta| valid(*beta)) => Ok(betas),
        _ => Err(options.invalid(NAME, expected)),
    }
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;

    use super::super::Decay;
    use super::*;

    fn build(choice: &Choice) -> Result<OptimiserSpec, OptionError> {
        let mut options = choice.reader(format!("optimiser {}", choice.kind));
        let spec = optimisers().get(&choice.kind).unwrap()(&mut options)?;
        options.finish()?;
        Ok(spec)
    }

    #[test]
    fn the_default_is_nnunets() {
        assert_eq!(build(&Choice::new("sgd")), Ok(OptimiserSpec::Sgd(SgdOptions::default())));
        assert_eq!(optimisers().names().next(), Some("sgd"));
    }

    #[test]
    fn the_references_variants_can_be_written() {
        // nnUNetTrainerAdam, nnUNetTrainerVanillaAdam, nnUNetTrainerAdan.
        let expected = AdamOptions { weight_decay: 3e-5, amsgrad: true, ..AdamOptions::adamw() };
        assert_eq!(build(&Choice::new("adamw").with("amsgrad", true)), Ok(OptimiserSpec::Adam(expected)));
        assert_eq!(expected.decay, Decay::Decoupled);
        let expected = AdamOptions { weight_decay: 3e-5, ..AdamOptions::adam() };
        assert_eq!(build(&Choice::new("adam")), Ok(OptimiserSpec::Adam(expected)));
        let expected = AdanOptions { weight_decay: 3e-5, ..AdanOptions::default() };
        assert_eq!(build(&Choice::new("adan")), Ok(OptimiserSpec::Adan(expected)));
        let plain = SgdOptions { momentum: 0.0, weight_decay: 0.0, nesterov: false };
        let choice = Choice::new("sgd").with("momentum", 0).with("weight_decay", 0);
        assert_eq!(build(&choice), Ok(OptimiserSpec::Sgd(plain)));
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let cases = [
            (
                Choice::new("sgd").with("momentum", 1.5),
                "momentum is 1.5, expected a number of at least 0 and below 1",
            ),
            (
                Choice::new("sgd").with("momentum", 0).with("nesterov", true),
                "nesterov is true, expected false where momentum is 0",
            ),
            (Choice::new("adam").with("betas", vec![0.9]), "betas is [0.9], expected two numbers"),
            (Choice::new("adan").with("betas", vec![0.02, 0.08, 0.0]), "expected three numbers above 0"),
            (Choice::new("adamw").with("weight_dekay", 0), "did you mean weight_decay?"),
            (Choice::new("adam").with("momentum", 0.9), "there is no option \"momentum\""),
            (Choice::new("adam").with("lr", 0.1), "there is no option \"lr\""),
        ];
        for (choice, words) in cases {
            let error = build(&choice).unwrap_err().to_string();
            assert!(error.contains(words), "{words:?} in {error}");
        }
    }
}
