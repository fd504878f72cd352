//! In what two recipes differ, value by value.

use nnunet_recipe::Recipe;
use serde_json::{Map, Value};

/// Keys that do not change what is trained or validated.
const NAMES: [&str; 3] = ["name", "python_class", "save_every"];
/// Key of a part's name.
const KIND: &str = "kind";

/// What in `is` differs from `was`, a line for each value: `optimiser.momentum was 0.99, is 0.9`.
pub(crate) fn changes(was: &Recipe, is: &Recipe) -> Vec<String> {
    let document = |recipe: &Recipe| {
        let mut document = recipe.to_document();
        NAMES.iter().for_each(|name| drop(document.remove(*name)));
        document
    };
    let mut lines = Vec::new();
    in_tables("", &document(was), &document(is), &mut lines);
    lines
}

fn in_tables(path: &str, was: &Map<String, Value>, is: &Map<String, Value>, lines: &mut Vec<String>) {
    let keys = was.keys().chain(is.keys().filter(|key| !was.contains_key(*key)));
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        in_values(&path, was.get(key), is.get(key), lines);
    }
}

fn in_values(path: &str, was: Option<&Value>, is: Option<&Value>, lines: &mut Vec<String>) {
    match (was, is) {
        (Some(was), Some(is)) if equal(was, is) => {}
        (Some(Value::Object(was)), Some(Value::Object(is))) if kind(was) == kind(is) => {
            in_tables(path, was, is, lines);
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) if are_parts(was) && are_parts(is) => {
            in_lists(path, was, is, lines);
        }
        _ => lines.push(format!("{path} was {}, is {}", shown(was), shown(is))),
    }
}

/// Lists of parts: those that only one of them has by name, and the values of those that both have. Parts of one kind are
/// matched in their order.
fn in_lists(path: &str, was: &[Value], is: &[Value], lines: &mut Vec<String>) {
    let mut left: Vec<&Value> = is.iter().collect();
    for earlier in was {
        let name = part(earlier);
        match left.iter().position(|later| part(later) == name) {
            Some(at) => {
                let later = left.remove(at);
                in_tables(&format!("{path}.{name}"), &as_table(earlier), &as_table(later), lines);
            }
            None => lines.push(format!("{path} was with {name}, is without it")),
        }
    }
    lines.extend(
        left.iter().map(|later| format!("{path} was without {name}, is with it", name = part(later))),
    );
    if left.is_empty() && was.len() == is.len() && !was.iter().map(part).eq(is.iter().map(part)) {
        lines.push(format!("{path} was in another order"));
    }
}

/// Whether values are equal as recipes: 1 and 1.0 are.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn kind(table: &Map<String, Value>) -> Option<&Value> {
    table.get(KIND)
}

/// Whether all are parts with names.
fn are_parts(list: &[Value]) -> bool {
    list.iter().all(|item| !part(item).is_empty())
}

/// The name of a part: a text, or a table's kind.
fn part(value: &Value) -> &str {
    value.as_str().or_else(|| value.get(KIND)?.as_str()).unwrap_or_default()
}

/// A part as a table, also where only its name is written.
fn as_table(value: &Value) -> Map<String, Value> {
    match value {
        Value::Object(table) => table.clone(),
        other => Map::from_iter([(KIND.to_owned(), other.clone())]),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Value::Object(table)) if table.contains_key(KIND) => {
            let options = table.iter().filter(|(key, _)| *key != KIND);
            let options: Vec<String> = options.map(|(key, value)| format!("{key} {value}")).collect();
            let name = table[KIND].as_str().unwrap_or_default();
            if options.is_empty() { name.to_owned() } else { format!("{name} ({})", options.join(", ")) }
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use nnunet_base::parts::Choice;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_that_differs_is_a_line() {
        let was = Recipe::default_trainer();
        assert_eq!(changes(&was, &Recipe { name: "mine".to_owned(), save_every: 1, ..was.clone() }), [""; 0]);
        let is = Recipe {
            epochs: 5,
            loss: Choice::new("focal").with("gamma", 2),
            optimiser: was.optimiser.clone().with("momentum", 0.9),
            ..was.clone()
        };
        assert_eq!(
            changes(&was, &is),
            [
                "epochs was 1000, is 5",
                "optimiser.momentum was 0.99, is 0.9",
                "loss was dice_ce, is focal (gamma 2)",
            ]
        );
    }

    #[test]
    fn lists_of_parts_are_compared_by_their_names() {
        let with = |list: Value| {
            let augmentation = Choice::new("list").with("transforms", list);
            Recipe { augmentation, ..Recipe::default_trainer() }
        };
        let was = with(json!([{"kind": "noise", "probability": 0.1}, "blur", {"kind": "mirror"}]));
        let is = with(json!([{"kind": "noise", "probability": 0.5}, "mirror", "gamma"]));
        assert_eq!(
            changes(&was, &is),
            [
                "augmentation.transforms.noise.probability was 0.1, is 0.5",
                "augmentation.transforms was with blur, is without it",
                "augmentation.transforms was without gamma, is with it",
            ]
        );
        let moved = with(json!(["blur", {"kind": "noise", "probability": 0.1}, {"kind": "mirror"}]));
        assert_eq!(changes(&was, &moved), ["augmentation.transforms was in another order"]);
    }
}
