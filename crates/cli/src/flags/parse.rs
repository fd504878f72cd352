//! From words to [`Matches`], by argparse's rules.

use nnunet::spelling::edit_distance;

use super::matches::Matches;
use super::spec::{Arity, Command, Flag};
use crate::messages::UsageError;

/// Sorts `words` into the flags and positional arguments of `command`.
pub(crate) fn parse(command: &Command, words: &[String]) -> Result<Matches, UsageError> {
    let mut matches = Matches::default();
    let mut positionals = Vec::new();
    let mut rest = words;
    while let Some((word, tail)) = rest.split_first() {
        rest = tail;
        if word == "--" {
            positionals.extend_from_slice(rest);
            break;
        }
        if !looks_like_flag(word) {
            positionals.push(word.clone());
            continue;
        }
        let (flag, attached) = find_flag(command, word)?;
        let values = match (flag.arity, attached) {
            (Arity::Switch, Some(value)) => {
                return Err(UsageError(format!("argument {}: takes no value, found {value:?}", flag.key())));
            }
            (Arity::Switch, None) => Vec::new(),
            (_, Some(value)) => vec![value],
            (arity, None) => {
                let limit = if arity == Arity::One { 1 } else { usize::MAX };
                let count = rest.iter().take(limit).take_while(|w| !looks_like_flag(w)).count();
                if count == 0 {
                    return Err(UsageError(format!(
                        "argument {}: expected {} {}",
                        flag.key(),
                        if arity == Arity::One { "one" } else { "at least one" },
                        flag.value
                    )));
                }
                let (values, tail) = rest.split_at(count);
                rest = tail;
                values.to_vec()
            }
        };
        matches.insert(flag.key(), values);
    }
    assign_positionals(command, positionals, &mut matches)?;
    Ok(matches)
}

fn assign_positionals(
    command: &Command,
    words: Vec<String>,
    matches: &mut Matches,
) -> Result<(), UsageError> {
    if words.len() > command.positionals.len() {
        return Err(UsageError(format!(
            "unrecognized arguments: {}",
            words[command.positionals.len()..].join(" ")
        )));
    }
    let missing = command.positionals[words.len()..].iter().filter(|p| p.is_required());
    let missing: Vec<_> = missing.map(|p| p.name).collect();
    if !missing.is_empty() {
        return Err(UsageError(format!("the following arguments are required: {}", missing.join(", "))));
    }
    for (positional, word) in command.positionals.iter().zip(words) {
        matches.insert(positional.name, vec![word]);
    }
    Ok(())
}

/// A word that starts a flag: a dash, but not alone, not a negative number and without spaces.
fn looks_like_flag(word: &str) -> bool {
    let Some(body) = word.strip_prefix('-') else { return false };
    if body.is_empty() || word.contains(' ') {
        return false;
    }
    let is_number = body.starts_with(|c: char| c.is_ascii_digit() || c == '.') && body.parse::<f64>().is_ok();
    !is_number
}

/// The flag that `word` names, and the value attached to it with `=` or, after a one-letter flag, directly.
fn find_flag(command: &Command, word: &str) -> Result<(&'static Flag, Option<String>), UsageError> {
    let exact = |name: &str| command.all_flags().find(|flag| flag.names.contains(&name));
    if let Some(flag) = exact(word) {
        return Ok((flag, None));
    }
    let (name, attached) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if let Some(flag) = exact(name) {
        return Ok((flag, attached));
    }
    let mut candidates: Vec<(&'static Flag, &'static str, Option<String>)> = Vec::new();
    for flag in command.all_flags() {
        if let Some(spelling) = flag.names.iter().find(|spelling| spelling.starts_with(name)) {
            candidates.push((flag, spelling, attached.clone()));
        }
    }
    if !word.starts_with("--")
        && let Some((split, _)) = word.char_indices().nth(2)
        && let Some(flag) = exact(&word[..split])
    {
        candidates.push((flag, flag.key(), Some(word[split..].to_owned())));
    }
    match candidates.len() {
        1 => Ok((candidates[0].0, candidates[0].2.clone())),
        0 => Err(UsageError(format!("unrecognized argument: {word}{}", suggestion(command, name)))),
        _ => {
            let names: Vec<_> = candidates.iter().map(|c| c.1).collect();
            Err(UsageError(format!("ambiguous option: {word} could match {}", names.join(", "))))
        }
    }
}

/// `; did you mean X?` for the spelling with the fewest letters changed, at most half of them and one more than a quarter;
/// else nothing. Dashes, underscores and case do not count.
fn suggestion(command: &Command, name: &str) -> String {
    let letters = |name: &str| name.trim_start_matches('-').replace('-', "_").to_lowercase();
    let asked = letters(name);
    let length = asked.chars().count();
    let limit = (1 + length / 4).min(length / 2);
    command
        .all_flags()
        .flat_map(|flag| flag.names.iter().copied())
        .chain(super::HELP)
        .map(|spelling| (edit_distance(&asked, &letters(spelling)), spelling))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map_or_else(String::new, |(_, spelling)| format!("; did you mean {spelling}?"))
}

#[cfg(test)]
mod tests {
    use super::super::spec::Positional;
    use super::*;

    const COMMAND: Command = Command {
        verb: "test",
        reference_names: &[],
        summary: "",
        description: "",
        after_interruption: "",
        positionals: &[Positional { name: "CASE", help: "" }],
        flags: &[&[
            Flag::many(&["-d"], "ID", ""),
            Flag::one(&["-step_size"], "FRACTION", ""),
            Flag::switch(&["--disable_tta"], ""),
            Flag::switch(&["--disable_progress_bar"], ""),
            Flag::switch(&["--c"], ""),
            Flag::one(&["-shift"], "MM", ""),
        ]],
    };

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn takes_what_argparse_takes() {
        let m = parse(&COMMAND, &words("case --disable_t -d 4 5 -step .25 -shift -3.5 --c")).unwrap();
        assert_eq!(m.text("CASE"), Some("case"));
        assert!(m.has("--disable_tta") && m.has("--c") && !m.has("--disable_progress_bar"));
        assert_eq!(m.texts("-d"), ["4", "5"]);
        assert_eq!(m.parsed::<f64>("-step_size", "a number").unwrap(), Some(0.25));
        assert_eq!(m.parsed::<f64>("-shift", "a number").unwrap(), Some(-3.5));
        assert_eq!(parse(&COMMAND, &words("-d4 x")).unwrap().texts("-d"), ["4"]);
        assert_eq!(parse(&COMMAND, &words("-step_size=1 x")).unwrap().text("-step_size"), Some("1"));
        assert_eq!(parse(&COMMAND, &words("-d 4 -- -x")).unwrap().text("CASE"), Some("-x"));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |line: &str| parse(&COMMAND, &words(line)).unwrap_err().0;
        assert_eq!(
            error("x --disable"),
            "ambiguous option: --disable could match --disable_tta, --disable_progress_bar"
        );
        assert_eq!(error("x -step_sise 1"), "unrecognized argument: -step_sise; did you mean -step_size?");
        for (asked, meant) in [
            ("--hlep", "--help"),
            ("--D", "-d"),
            ("--disable-progressbar", "--disable_progress_bar"),
            ("--step-size", "-step_size"),
        ] {
            let expected = format!("unrecognized argument: {asked}; did you mean {meant}?");
            assert_eq!(error(&format!("x {asked}")), expected);
        }
        assert_eq!(error("x -q"), "unrecognized argument: -q");
        assert_eq!(error("x -d"), "argument -d: expected at least one ID");
        assert_eq!(error("x --c=1"), "argument --c: takes no value, found \"1\"");
        assert_eq!(error(""), "the following arguments are required: CASE");
        assert_eq!(error("a b"), "unrecognized arguments: b");
    }
}
