//! The losses that can be chosen by name, with their options.

use std::sync::Arc;

use nnunet_base::parts::{Named, OptionError, Options};

use super::loss_options::{at_least_0, background, class_weights, spacing};
use super::{
    BoundarySpec, ClDiceSpec, Compared, CrossEntropySpec, DICE_SMOOTH, DiceSpec, FocalSpec, HausdorffSpec,
    LossSpec, PartlyLabelledSpec, ScaleLossSpec, TermSpec, TopKSpec, TverskySpec, WeightedTerm,
    deep_supervision_weights,
};

/// Makes a loss for a training from its options.
pub type LossBuilder =
    Arc<dyn Fn(&mut Options<'_>, &LossFacts) -> Result<LossSpec, OptionError> + Send + Sync>;

/// What a loss has to know of the training it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossFacts {
    /// Whether targets are regions instead of labels.
    pub regions: bool,
    /// Label of voxels that do not count.
    pub ignore_label: Option<i16>,
    /// Whether the plans take the Dice of the batch as a whole.
    pub batch_dice: bool,
    /// Channels of an output of the network: classes with the background, or regions.
    pub classes: usize,
    /// Outputs of the network that are trained, full resolution first.
    pub outputs: usize,
}

/// The built-in losses. Where terms are summed, the options `weight_...` are their factors.
pub fn losses() -> Named<LossBuilder> {
    Named::<LossBuilder>::new("loss")
        .with(
            "dice_ce",
            "soft Dice and cross-entropy (binary for regions), nnU-Net's default",
            sum(&[dice, ce]),
        )
        .with("dice", "soft Dice alone", sum(&[dice]))
        .with("ce", "cross-entropy alone, of labels", of_labels(sum(&[ce])))
        .with("bce", "binary cross-entropy alone, of regions", of_regions(sum(&[ce])))
        .with("topk", "cross-entropy of the worst k percent of the voxels", of_labels(sum(&[top_k])))
        .with(
            "dice_topk",
            "soft Dice and cross-entropy of the worst k percent of the voxels",
            of_labels(sum(&[dice, top_k])),
        )
        .with("focal", "focal loss (Lin et al. 2017)", sum(&[focal]))
        .with("dice_focal", "soft Dice and focal loss", sum(&[dice, focal]))
        .with("tversky", "Tversky loss (Salehi et al. 2017)", sum(&[tversky]))
        .with("tversky_ce", "Tversky loss and cross-entropy", sum(&[tversky, ce]))
        .with("focal_tversky", "focal Tversky loss (Abraham and Khan 2018)", sum(&[focal_tversky]))
        .with(
            "boundary",
            "soft Dice, cross-entropy and boundary loss (Kervadec et al. 2019)",
            sum(&[dice, ce, boundary]),
        )
        .with(
            "hausdorff",
            "soft Dice, cross-entropy and Hausdorff-distance loss (Karimi and Salcudean 2019)",
            sum(&[dice, ce, hausdorff]),
        )
        .with(
            "cldice",
            "soft Dice, cross-entropy and clDice, for tubular structures (Shit et al. 2021)",
            sum(&[dice, ce, cl_dice]),
        )
        .with(
            "marginal",
            "dice_ce of the annotated classes; the others count as background (Shi et al. 2021)",
            Arc::new(|options: &mut Options<'_>, facts: &LossFacts| {
                partly_labelled(options, facts, 0.0, false)
            }),
        )
        .with(
            "exclusion",
            "marginal, and other classes kept away from annotated voxels (Shi et al. 2021)",
            of_labels(Arc::new(|options: &mut Options<'_>, facts: &LossFacts| {
                let weight = at_least_0(options, "weight_exclusion", 1.0)?;
                partly_labelled(options, facts, weight, false)
            })),
        )
        .with(
            "multitalent",
            "binary cross-entropy and Dice summed over the annotated regions (Ulrich et al. 2023)",
            of_regions(Arc::new(|options: &mut Options<'_>, facts: &LossFacts| {
                partly_labelled(options, facts, 0.0, true)
            })),
        )
}

/// Reads the options of one term.
type Part = fn(&mut Options<'_>, &LossFacts, Share) -> Result<WeightedTerm, OptionError>;

/// Whether a term is the only one of its loss, which needs no weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    Some,
}

impl Share {
    /// The term's factor, by the option `name` where there are other terms.
    fn weight(self, options: &mut Options<'_>, name: &'static str, default: f64) -> Result<f64, OptionError> {
        match self {
            Self::All => Ok(1.0),
            Self::Some => options.number_where(name, default, "a number of at least 0", |w| w >= 0.0),
        }
    }
}

/// The sum of `parts` with deep supervision.
fn sum(parts: &[Part]) -> LossBuilder {
    let parts = parts.to_vec();
    let share = if parts.len() == 1 { Share::All } else { Share::Some };
    Arc::new(move |options: &mut Options<'_>, facts: &LossFacts| {
        let terms: Vec<WeightedTerm> =
            parts.iter().map(|part| part(options, facts, share)).collect::<Result<_, _>>()?;
        if terms.iter().all(|term| term.weight == 0.0) {
            return Err(options.unsuitable("has only terms of weight 0: give one of them a weight above 0"));
        }
        let terms = terms.into_iter().filter(|term| term.weight != 0.0).collect();
        let compared = match facts.regions {
            true => Compared::Regions { has_ignore: facts.ignore_label.is_some() },
            false => Compared::Labels { ignore_label: facts.ignore_label },
        };
        Ok(LossSpec::deep_supervision(ScaleLossSpec { compared, terms }, facts.outputs))
    })
}

/// Dice and cross-entropy of what is annotated.
fn partly_labelled(
    options: &mut Options<'_>,
    facts: &LossFacts,
    exclusion: f64,
    summed: bool,
) -> Result<LossSpec, OptionError> {
    let compared = match facts.regions {
        true => Compared::Regions { has_ignore: facts.ignore_label.is_some() },
        false => Compared::Labels { ignore_label: facts.ignore_label },
    };
    // MultiTalent sums Dice over the batch, whatever the plans say.
    let batch_dice = summed || options.switch("batch_dice", facts.batch_dice)?;
    let loss = PartlyLabelledSpec { compared, batch_dice, smooth: DICE_SMOOTH, exclusion, summed };
    Ok(LossSpec::PartlyLabelled { loss, weights: deep_supervision_weights(facts.outputs) })
}

fn of_labels(builder: LossBuilder) -> LossBuilder {
    Arc::new(move |options: &mut Options<'_>, facts: &LossFacts| {
        match facts.regions {
        false => builder(options, facts),
        true => Err(options.unsuitable(
            "is a loss of labels, but the dataset has regions: choose dice_ce, dice, bce, focal, dice_focal or \
             another one that takes regions",
        )),
    }
    })
}

fn of_regions(builder: LossBuilder) -> LossBuilder {
    Arc::new(move |options: &mut Options<'_>, facts: &LossFacts| match facts.regions {
        true => builder(options, facts),
        false => Err(options
            .unsuitable("is a loss of regions, but the dataset has plain labels: choose ce or dice_ce")),
    })
}

fn dice(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_dice", 1.0)?;
    let spec = DiceSpec {
        batch_dice: options.switch("batch_dice", facts.batch_dice)?,
        smooth: at_least_0(options, "smooth", DICE_SMOOTH)?,
        squared: options.switch("squared", false)?,
        background: background(options, facts)?,
    };
    Ok(TermSpec::Dice(spec).weighted(weight))
}

fn ce(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_ce", 1.0)?;
    Ok(TermSpec::CrossEntropy(cross_entropy(options, facts)?).weighted(weight))
}

fn top_k(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_ce", 1.0)?;
    let expected = "a percentage above 0 and at most 100";
    let percent = options.number_where("k", 10.0, expected, |k| k > 0.0 && k <= 100.0)?;
    let cross_entropy = cross_entropy(options, facts)?;
    Ok(TermSpec::TopK(TopKSpec { percent, cross_entropy }).weighted(weight))
}

fn cross_entropy(options: &mut Options<'_>, facts: &LossFacts) -> Result<CrossEntropySpec, OptionError> {
    Ok(CrossEntropySpec {
        class_weights: class_weights(options, facts)?,
        label_smoothing: options.probability("label_smoothing", 0.0)?,
    })
}

fn focal(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_focal", 1.0)?;
    let gamma = at_least_0(options, "gamma", 2.0)?;
    let class_weights = class_weights(options, facts)?;
    Ok(TermSpec::Focal(FocalSpec { gamma, class_weights }).weighted(weight))
}

fn tversky(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    tversky_with(options, facts, share, |_| Ok(1.0))
}

fn focal_tversky(
    options: &mut Options<'_>,
    facts: &LossFacts,
    share: Share,
) -> Result<WeightedTerm, OptionError> {
    let gamma = |options: &mut Options<'_>| {
        options.number_where("gamma", 4.0 / 3.0, "a number above 0", |gamma| gamma > 0.0)
    };
    tversky_with(options, facts, share, gamma)
}

fn tversky_with(
    options: &mut Options<'_>,
    facts: &LossFacts,
    share: Share,
    gamma: impl Fn(&mut Options<'_>) -> Result<f64, OptionError>,
) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_tversky", 1.0)?;
    let spec = TverskySpec {
        alpha: at_least_0(options, "alpha", 0.3)?,
        beta: at_least_0(options, "beta", 0.7)?,
        gamma: gamma(options)?,
        batch_dice: options.switch("batch_dice", facts.batch_dice)?,
        smooth: at_least_0(options, "smooth", DICE_SMOOTH)?,
        background: background(options, facts)?,
    };
    Ok(TermSpec::Tversky(spec).weighted(weight))
}

fn boundary(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    // The first epoch's weight in the paper.
    let weight = share.weight(options, "weight_boundary", 0.01)?;
    let spec = BoundarySpec { spacing: spacing(options)?, background: background(options, facts)? };
    Ok(TermSpec::Boundary(spec).weighted(weight))
}

fn hausdorff(
    options: &mut Options<'_>,
    facts: &LossFacts,
    share: Share,
) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_hausdorff", 0.01)?;
    let spec = HausdorffSpec {
        alpha: options.number_where("alpha", 2.0, "a number above 0", |alpha| alpha > 0.0)?,
        spacing: spacing(options)?,
        background: background(options, facts)?,
    };
    Ok(TermSpec::Hausdorff(spec).weighted(weight))
}

fn cl_dice(options: &mut Options<'_>, facts: &LossFacts, share: Share) -> Result<WeightedTerm, OptionError> {
    let weight = share.weight(options, "weight_cldice", 1.0)?;
    let spec = ClDiceSpec {
        iterations: options.count("iterations", 3)?,
        batch_dice: options.switch("batch_dice", facts.batch_dice)?,
        smooth: at_least_0(options, "cldice_smooth", 1.0)?,
        background: background(options, facts)?,
    };
    Ok(TermSpec::ClDice(spec).weighted(weight))
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;

    use super::*;

    const LABELS: LossFacts =
        LossFacts { regions: false, ignore_label: Some(3), batch_dice: true, classes: 3, outputs: 4 };

    fn build(choice: &Choice, facts: &LossFacts) -> Result<ScaleLossSpec, OptionError> {
        let losses = losses();
        let mut options = choice.reader(format!("loss {}", choice.kind));
        let loss = losses.get(&choice.kind).unwrap()(&mut options, facts)?;
        options.finish()?;
        let LossSpec::DeepSupervision { loss, weights } = loss else { unreachable!("a loss as data") };
        assert_eq!(weights, crate::loss::deep_supervision_weights(facts.outputs));
        Ok(loss)
    }

    #[test]
    fn the_default_is_nnunets() {
        let found = build(&Choice::new("dice_ce"), &LABELS).unwrap();
        assert_eq!(found, ScaleLossSpec::dice_and_cross_entropy(true, Some(3)));
        let regions = LossFacts { regions: true, batch_dice: false, ..LABELS };
        let found = build(&Choice::new("dice_ce"), &regions).unwrap();
        assert_eq!(found, ScaleLossSpec::dice_and_binary_cross_entropy(false, true));
        assert_eq!(losses().names().next(), Some("dice_ce"));
    }

    #[test]
    fn options_reach_their_terms() {
        let choice = Choice::new("dice_topk")
            .with("k", 20)
            .with("label_smoothing", 0.1)
            .with("smooth", 0)
            .with("weight_ce", 0.5)
            .with("background", true)
            .with("class_weights", vec![1, 2, 3]);
        let cross_entropy =
            CrossEntropySpec { class_weights: Some(vec![1.0, 2.0, 3.0]), label_smoothing: 0.1 };
        let dice = DiceSpec { batch_dice: true, smooth: 0.0, squared: false, background: true };
        assert_eq!(
            build(&choice, &LABELS).unwrap().terms,
            [
                TermSpec::Dice(dice).weighted(1.0),
                TermSpec::TopK(TopKSpec { percent: 20.0, cross_entropy }).weighted(0.5)
            ]
        );
        // A weight of 0 takes a term out.
        let found = build(&Choice::new("dice_ce").with("weight_ce", 0), &LABELS).unwrap();
        assert_eq!(found.terms, [TermSpec::Dice(DiceSpec::new(true)).weighted(1.0)]);
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let regions = LossFacts { regions: true, ..LABELS };
        let cases = [
            (Choice::new("ce"), regions, "loss ce is a loss of labels, but the dataset has regions"),
            (Choice::new("dice_topk"), regions, "choose dice_ce, dice, bce"),
            (Choice::new("bce"), LABELS, "loss bce is a loss of regions, but the dataset has plain labels"),
            (
                Choice::new("ce").with("class_weights", vec![1, 2]),
                LABELS,
                "loss ce: class_weights is [1,2], expected 3 numbers of at least 0 (one per label with the background)",
            ),
            (Choice::new("focal").with("gama", 2), LABELS, "did you mean gamma?"),
            (Choice::new("ce").with("weight_ce", 2), LABELS, "there is no option \"weight_ce\""),
            (Choice::new("dice").with("background", true), regions, "there is no option \"background\""),
            (
                Choice::new("topk").with("k", 0),
                LABELS,
                "k is 0, expected a percentage above 0 and at most 100",
            ),
            (
                Choice::new("boundary").with("spacing", vec![1, 1]),
                LABELS,
                "three lengths above 0 along (z, y, x)",
            ),
            (
                Choice::new("dice_ce").with("weight_ce", 0).with("weight_dice", 0),
                LABELS,
                "loss dice_ce has only terms of weight 0",
            ),
        ];
        for (choice, facts, words) in cases {
            let error = build(&choice, &facts).unwrap_err().to_string();
            assert!(error.contains(words), "{words:?} in {error}");
        }
    }

    #[test]
    fn losses_of_what_is_annotated() {
        let built = |choice: Choice, regions| {
            let facts = LossFacts { regions, ..LABELS };
            let mut options = choice.reader(format!("loss {}", choice.kind));
            match losses().get(&choice.kind).unwrap()(&mut options, &facts)? {
                LossSpec::PartlyLabelled { loss, weights } => {
                    assert_eq!(weights, deep_supervision_weights(4));
                    options.finish().map(|()| loss)
                }
                other => unreachable!("{other:?}"),
            }
        };
        let marginal = built(Choice::new("marginal").with("batch_dice", false), false).unwrap();
        assert_eq!(marginal.compared, Compared::Labels { ignore_label: Some(3) });
        assert!(!marginal.batch_dice && marginal.exclusion == 0.0 && !marginal.summed);
        assert_eq!(built(Choice::new("exclusion"), false).unwrap().exclusion, 1.0);
        assert!(built(Choice::new("multitalent"), true).unwrap().summed);
        let error = built(Choice::new("multitalent"), false).unwrap_err().to_string();
        assert!(error.contains("multitalent is a loss of regions"), "{error}");
        assert!(built(Choice::new("exclusion"), true).is_err());
    }

    #[test]
    fn every_loss_builds_with_its_defaults() {
        for (name, summary, _) in losses().iter() {
            assert!(!summary.is_empty());
            if ["marginal", "exclusion", "multitalent"].contains(&name) {
                continue;
            }
            let facts = LossFacts { regions: name == "bce", ..LABELS };
            let loss = build(&Choice::new(name), &facts).unwrap();
            assert!(!loss.terms.is_empty(), "{name}");
        }
    }
}
