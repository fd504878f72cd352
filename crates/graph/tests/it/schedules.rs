//! Schedules against those of nnU-Net and PyTorch (tests/golden/schedules), in every epoch. Tolerance: 1e-13 relative to the
//! initial rate; PyTorch computes the same formulas in another order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_base::parts::Choice;
use nnunet_graph::schedule::schedules;
use serde_json::Value;

const INITIAL: f64 = 0.01;

#[test]
fn rates_are_those_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schedules/schedules.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut seen = Vec::new();
    for case in &cases {
        let kind = case["kind"].as_str().unwrap();
        let choice = Choice { kind: kind.to_owned(), options: case["options"].as_object().unwrap().clone() };
        let mut options = choice.reader(kind);
        let epochs = case["epochs"].as_u64().unwrap() as usize;
        let schedule = schedules().get(kind).unwrap()(&mut options, INITIAL, epochs).unwrap();
        options.finish().unwrap();
        let rates = case["rates"].as_array().unwrap();
        assert_eq!(rates.len(), epochs);
        for (epoch, rate) in rates.iter().enumerate() {
            let (found, expected) = (schedule.rate(epoch), rate.as_f64().unwrap());
            assert!((found - expected).abs() < 1e-13 * INITIAL, "{choice:?} {epoch}: {found} not {expected}");
        }
        seen.push(kind);
    }
    let missing: Vec<String> =
        schedules().names().filter(|name| !seen.contains(name)).map(str::to_owned).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
