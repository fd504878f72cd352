//! The schedules that can be chosen by name, with their options.

use std::sync::Arc;

use nnunet_base::parts::{Named, OptionError, Options};

use super::{Anneal, Constant, CosineAnnealing, CosineRestarts, OneCycle, PolynomialDecay, Schedule, WarmUp};

/// Makes a schedule from its options, the initial learning rate, and the number of epochs of the training.
pub type ScheduleBuilder =
    Arc<dyn Fn(&mut Options<'_>, f64, usize) -> Result<Arc<dyn Schedule>, OptionError> + Send + Sync>;

/// The built-in schedules.
pub fn schedules() -> Named<ScheduleBuilder> {
    Named::<ScheduleBuilder>::new("schedule")
        .with("polynomial", "polynomial decay to 0, nnU-Net's default", Arc::new(polynomial))
        .with("cosine", "half a cosine, from the initial rate to 0", Arc::new(cosine))
        .with("cosine_restarts", "cosines that start again (SGDR)", Arc::new(cosine_restarts))
        .with("one_cycle", "up to the initial rate and down to almost 0", Arc::new(one_cycle))
        .with("constant", "the initial rate in all epochs", Arc::new(constant))
}

fn polynomial(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
) -> Result<Arc<dyn Schedule>, OptionError> {
    let exponent =
        options.number_where("exponent", PolynomialDecay::EXPONENT, "a number above 0", |e| e > 0.0)?;
    after_warm_up(options, initial, epochs, |epochs| PolynomialDecay { initial, epochs, exponent })
}

fn cosine(options: &mut Options<'_>, initial: f64, epochs: usize) -> Result<Arc<dyn Schedule>, OptionError> {
    let smallest = smallest(options)?;
    after_warm_up(options, initial, epochs, |epochs| CosineAnnealing { initial, epochs, smallest })
}

fn cosine_restarts(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
) -> Result<Arc<dyn Schedule>, OptionError> {
    let smallest = smallest(options)?;
    // Four cosines, each twice as long as the one before, fill the training.
    let period = options.count("period", epochs.div_ceil(15))?;
    if period == 0 {
        return Err(options.invalid("period", "at least 1 epoch"));
    }
    let growth = options.count("period_growth", 2)?;
    if growth == 0 {
        return Err(options.invalid("period_growth", "a whole number of at least 1"));
    }
    after_warm_up(options, initial, epochs, |_| CosineRestarts { initial, period, growth, smallest })
}

fn one_cycle(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
) -> Result<Arc<dyn Schedule>, OptionError> {
    let factor = "a number of at least 1";
    let rising =
        options.number_where("pct_start", 0.3, "a number above 0 and below 1", |p| p > 0.0 && p < 1.0)?;
    let initial_divisor = options.number_where("div_factor", 25.0, factor, |f| f >= 1.0)?;
    let final_divisor = options.number_where("final_div_factor", 1e4, factor, |f| f >= 1.0)?;
    let anneal = match options.word("anneal", &["cos", "linear"])? {
        "linear" => Anneal::Linear,
        _ => Anneal::Cosine,
    };
    Ok(Arc::new(OneCycle { largest: initial, epochs, rising, initial_divisor, final_divisor, anneal }))
}

fn constant(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
) -> Result<Arc<dyn Schedule>, OptionError> {
    after_warm_up(options, initial, epochs, |_| Constant { rate: initial })
}

fn smallest(options: &mut Options<'_>) -> Result<f64, OptionError> {
    options.number_where("eta_min", 0.0, "a rate of at least 0", |rate| rate >= 0.0)
}

/// The schedule of the epochs that the warm-up leaves, after the warm-up.
fn after_warm_up<S: Schedule + 'static>(
    options: &mut Options<'_>,
    initial: f64,
    epochs: usize,
    schedule: impl FnOnce(usize) -> S,
) -> Result<Arc<dyn Schedule>, OptionError> {
    let warm_up = options.count("warmup_epochs", 0)?;
    match epochs.checked_sub(warm_up) {
        _ if warm_up == 0 => Ok(Arc::new(schedule(epochs))),
        Some(left) if left > 0 => Ok(Arc::new(WarmUp { initial, epochs: warm_up, then: schedule(left) })),
        _ => Err(options.invalid("warmup_epochs", format!("fewer than the {epochs} epochs of the training"))),
    }
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;

    use super::*;

    fn build(choice: &Choice, epochs: usize) -> Result<Arc<dyn Schedule>, OptionError> {
        let mut options = choice.reader(format!("schedule {}", choice.kind));
        let schedule = schedules().get(&choice.kind).unwrap()(&mut options, 0.01, epochs)?;
        options.finish()?;
        Ok(schedule)
    }

    #[test]
    fn the_default_is_nnunets() {
        let found = build(&Choice::new("polynomial"), 1000).unwrap();
        let expected = PolynomialDecay::new(0.01, 1000);
        assert!((0..=1000).all(|epoch| found.rate(epoch) == expected.rate(epoch)));
        assert_eq!(schedules().names().next(), Some("polynomial"));
    }

    #[test]
    fn restarts_fill_the_training_by_default() {
        let found = build(&Choice::new("cosine_restarts"), 150).unwrap();
        let starts: Vec<usize> = (0..150).filter(|&epoch| found.rate(epoch) == 0.01).collect();
        assert_eq!(starts, [0, 10, 30, 70]);
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let cases = [
            (
                Choice::new("polynomial").with("warmup_epochs", 50),
                "schedule polynomial: warmup_epochs is 50, expected fewer than the 50 epochs of the training",
            ),
            (Choice::new("cosine_restarts").with("period", 0), "period is 0, expected at least 1 epoch"),
            (
                Choice::new("one_cycle").with("anneal", "cosine"),
                "anneal is \"cosine\", expected cos or linear",
            ),
            (Choice::new("one_cycle").with("warmup_epochs", 5), "there is no option \"warmup_epochs\""),
            (Choice::new("cosine").with("eta_max", 1), "did you mean eta_min?"),
        ];
        for (choice, words) in cases {
            let error = build(&choice, 50).unwrap_err().to_string();
            assert!(error.contains(words), "{words:?} in {error}");
        }
    }
}
