//! What quality control said of the cases before anybody knew their references, beside what the evaluation says.

use maud::{Markup, html};
use nnunet_assess::evaluate::Summary;
use nnunet_infer::predict::quality::Warned;

use super::ranking::{case_name, mean_dice};
use crate::table::{Cell, Table};

/// The table of the `warned` cases with their warning scores, the highest first; nothing where there are none.
pub(super) fn warned_section(warned: &[Warned], summary: &Summary) -> Option<Markup> {
    if warned.is_empty() {
        return None;
    }
    let dice = |name: &str| {
        let case = summary.metric_per_case.iter().find(|case| case_name(case) == name);
        case.map_or(f64::NAN, mean_dice)
    };
    let row = |one: &Warned| {
        let (score, dice) = (Cell::Number(one.score), Cell::Number(dice(&one.case)));
        vec![one.case.as_str().into(), score, dice, one.reasons.as_str().into()]
    };
    let table = Table {
        caption: "Cases to look at first, ranked by quality control without a reference".to_owned(),
        columns: ["Case", "Warning score", "Mean Dice", "Why"].map(str::to_owned).into(),
        rows: warned.iter().map(row).collect(),
    };
    Some(html! {
        p.note { "The score goes from 0 to 1: disagreement of folds and mirrored passes, and odd volumes." }
        (table.html())
    })
}

#[cfg(test)]
mod tests {
    use super::super::ranking::tests::case;
    use super::*;

    #[test]
    fn scores_stand_beside_the_dice() {
        let summary = Summary::new(vec![case("a", &[0.5]), case("b", &[0.9])]);
        let warned = [("a", 0.75, "shell: expected Dice 0.31"), ("unknown", 0.125, "")]
            .map(|(case, score, why)| Warned { case: case.to_owned(), score, reasons: why.to_owned() });
        let html = warned_section(&warned, &summary).unwrap().into_string();
        for part in ["0.75", "expected Dice 0.31", "0.5", "unknown"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(warned_section(&[], &summary).is_none());
    }
}
