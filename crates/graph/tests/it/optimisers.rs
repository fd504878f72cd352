//! Optimisers and gradient clipping against PyTorch's numbers (tests/golden/optimisers).
//! Tolerance: a few f32 roundings per step.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_graph::Parameters;
use nnunet_graph::optimiser::{
    Adam, AdamOptions, Adan, AdanOptions, Optimiser, OptimiserState, Sgd, SgdOptions, clip_gradient_norm,
};
use serde_json::Value;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimisers/optimisers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(list) => list.iter().map(|v| v.as_f64().unwrap() as f32).collect(),
        single => vec![single.as_f64().unwrap() as f32],
    }
}

fn start(golden: &Value) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.insert("a", vec![2, 3], floats(&golden["start"][0])).unwrap();
    parameters.insert("b", vec![4], floats(&golden["start"][1])).unwrap();
    parameters
}

fn set_gradients(parameters: &mut Parameters, gradients: &Value) {
    for (i, (_, parameter)) in parameters.iter_mut().enumerate() {
        match &gradients[i] {
            Value::Null => parameter.clear_gradient(),
            some => parameter.gradient_mut().copy_from_slice(&floats(some)),
        }
    }
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 2e-6 * e.abs().max(0.1), "{what}: {f} instead of {e}");
    }
}

fn optimisers() -> Vec<(&'static str, Box<dyn Optimiser>)> {
    let sgd = |momentum, weight_decay, nesterov| {
        Box::new(Sgd::new(SgdOptions { momentum, weight_decay, nesterov }))
    };
    vec![
        ("sgd_nesterov", Box::new(Sgd::new(SgdOptions::default()))),
        ("sgd_momentum", sgd(0.9, 1e-2, false)),
        ("sgd_plain", sgd(0.0, 1e-2, false)),
        ("adam", Box::new(Adam::new(AdamOptions { weight_decay: 1e-2, ..AdamOptions::adam() }))),
        ("adamw", Box::new(Adam::new(AdamOptions::adamw()))),
        (
            "adamw_amsgrad",
            Box::new(Adam::new(AdamOptions { weight_decay: 3e-5, amsgrad: true, ..AdamOptions::adamw() })),
        ),
        ("adan", Box::new(Adan::new(AdanOptions { weight_decay: 1e-2, ..AdanOptions::default() }))),
    ]
}

fn check_state(found: &OptimiserState, expected: &Value, what: &str) {
    let expected = expected.as_object().unwrap();
    for (i, entry) in found.parameters.iter().enumerate() {
        let Some(entry) = entry else {
            // PyTorch keeps an entry without a buffer, or none at all, before a parameter's first step.
            assert!(expected.get(&i.to_string()).is_none_or(|e| e.as_object().unwrap().is_empty()), "{what}");
            continue;
        };
        let expected = expected[&i.to_string()].as_object().unwrap();
        assert_eq!(entry.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
        for (key, tensor) in entry {
            close(&tensor.data, &floats(&expected[key]), &format!("{what} {key} of parameter {i}"));
        }
    }
}

#[test]
fn steps_and_states_are_those_of_pytorch() {
    let golden = golden();
    for (name, mut optimiser) in optimisers() {
        let mut parameters = start(&golden);
        let steps = golden["cases"][name].as_array().unwrap();
        for (s, step) in steps.iter().enumerate() {
            set_gradients(&mut parameters, &golden["gradients"][s]);
            optimiser.step(&mut parameters, golden["rates"][s].as_f64().unwrap());
            for (i, (_, parameter)) in parameters.iter().enumerate() {
                close(
                    parameter.value(),
                    &floats(&step["parameters"][i]),
                    &format!("{name} step {s} parameter {i}"),
                );
            }
            check_state(&optimiser.state(), &step["state"], &format!("{name} step {s}"));
        }
    }
}

#[test]
fn a_resumed_optimiser_goes_on_as_if_never_stopped() {
    let golden = golden();
    for ((name, mut whole), (_, mut resumed)) in optimisers().into_iter().zip(optimisers()) {
        let mut parameters = start(&golden);
        let step = |optimiser: &mut Box<dyn Optimiser>, parameters: &mut Parameters, s: usize| {
            set_gradients(parameters, &golden["gradients"][s]);
            optimiser.step(parameters, 0.01);
        };
        step(&mut whole, &mut parameters, 0);
        let mut copy = parameters.clone();
        resumed.set_state(&whole.state(), &copy).unwrap();
        for s in 1..4 {
            step(&mut whole, &mut parameters, s);
            step(&mut resumed, &mut copy, s);
        }
        assert_eq!(parameters, copy, "{name}");
        assert_eq!(whole.state(), resumed.state(), "{name}");
    }
}

#[test]
fn wrong_states_are_errors() {
    let golden = golden();
    let mut parameters = start(&golden);
    set_gradients(&mut parameters, &golden["gradients"][1]);
    let mut sgd = Sgd::new(SgdOptions::default());
    sgd.step(&mut parameters, 0.1);
    let mut adam = Adam::new(AdamOptions::adam());
    let text = adam.set_state(&sgd.state(), &parameters).unwrap_err().to_string();
    assert!(text.contains("momentum_buffer") && text.contains("\"step\""), "{text}");
    let mut state = sgd.state();
    state.parameters[1].as_mut().unwrap()["momentum_buffer"].data.pop();
    let text = sgd.set_state(&state, &parameters).unwrap_err().to_string();
    assert!(text.contains("parameter 1") && text.contains("3 elements"), "{text}");
    let mut state = sgd.state();
    state.parameters.push(None);
    let text = sgd.set_state(&state, &parameters).unwrap_err().to_string();
    assert!(text.contains("3 parameters"), "{text}");
}

#[test]
fn clipping_is_that_of_pytorch() {
    let golden = golden();
    for case in golden["clip"].as_array().unwrap() {
        let mut parameters = start(&golden);
        set_gradients(&mut parameters, &golden["gradients"][1]);
        let norm = clip_gradient_norm(&mut parameters, case["max_norm"].as_f64().unwrap());
        assert!((norm / case["norm"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        for (i, (_, parameter)) in parameters.iter().enumerate() {
            close(parameter.gradient().unwrap(), &floats(&case["gradients"][i]), "clipped gradient");
        }
    }
    let mut parameters = start(&golden);
    set_gradients(&mut parameters, &golden["gradients"][1]);
    parameters.get_mut("b").unwrap().gradient_mut()[0] = f32::NAN;
    assert!(clip_gradient_norm(&mut parameters, 12.0).is_nan());
    assert!(parameters.get("a").unwrap().gradient().unwrap()[0].is_nan());
}
