//! Which cases a fold trains on and which it validates on.
//!
//! The default is the reference's: five folds of scikit-learn's `KFold(shuffle=True,
//! random_state=12345)` over the sorted identifiers, kept in `splits_final.json`. A file that is there
//! already is used as it is.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::DatasetError;
use crate::json::{Json, KeyOrder};
use crate::numpy_random::RandomState;

/// Seed of the reference's splits.
const SEED: u32 = 12345;
/// Number of folds of the reference's splits.
const FOLDS: usize = 5;

/// Training and validation cases of one fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Identifiers to train on.
    pub train: Vec<String>,
    /// Identifiers to validate on.
    pub val: Vec<String>,
}

/// Which fold to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// A fold of the splits file, from 0.
    Number(u32),
    /// All cases for training and for validation.
    All,
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Number)
                .map_err(|_| format!("fold {text:?} is neither a number (0, 1, 2, ...) nor \"all\"")),
        }
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

/// The cases of a fold, with what the user should know about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenSplit {
    /// The cases.
    pub split: Split,
    /// Where they come from, for the log.
    pub origin: String,
    /// What looks unintended, one line each.
    pub warnings: Vec<String>,
}

/// Splits of a cross-validation with the reference's generator. `identifiers` in any order.
///
/// # Errors
/// Fewer identifiers than folds; `path` is for the message.
pub fn crossval_splits(identifiers: &[String], path: &Path) -> Result<Vec<Split>, DatasetError> {
    let keys = sorted(identifiers);
    if keys.len() < FOLDS {
        return Err(DatasetError::Splits {
            path: path.to_owned(),
            problem: format!(
                "{} cases cannot be split into {FOLDS} folds; train fold \"all\" or write this file yourself",
                keys.len()
            ),
        });
    }
    let order = RandomState::new(SEED).permutation(keys.len());
    let mut start = 0;
    Ok((0..FOLDS)
        .map(|fold| {
            let size = keys.len() / FOLDS + usize::from(fold < keys.len() % FOLDS);
            let held_out: HashSet<usize> = order[start..start + size].iter().copied().collect();
            start += size;
            let (val, train): (Vec<_>, Vec<_>) =
                keys.iter().cloned().enumerate().partition(|(i, _)| held_out.contains(i));
            let names = |part: Vec<(usize, String)>| part.into_iter().map(|(_, name)| name).collect();
            Split { train: names(train), val: names(val) }
        })
        .collect())
}

/// The seeded 80:20 split that the reference uses for a fold that the splits file has not.
pub fn random_split(identifiers: &[String], fold: u32) -> Split {
    let keys = sorted(identifiers);
    let chosen = RandomState::new(SEED.wrapping_add(fold))
        .choice_without_replacement(keys.len(), (keys.len() as f64 * 0.8) as usize);
    let in_train: HashSet<usize> = chosen.iter().copied().collect();
    Split {
        train: chosen.iter().map(|&i| keys[i].clone()).collect(),
        val: keys.iter().enumerate().filter(|(i, _)| !in_train.contains(i)).map(|(_, k)| k.clone()).collect(),
    }
}

/// Training and validation cases of `fold`, out of `identifiers`, the preprocessed cases.
///
/// Reads `splits_file`; writes the default splits there if it does not exist. `Fold::All` neither reads
/// nor writes it.
///
/// # Errors
/// The file cannot be read or written, is not a list of splits, or names cases that do not exist.
pub fn split_for_fold(
    splits_file: &Path,
    identifiers: &[String],
    fold: Fold,
) -> Result<ChosenSplit, DatasetError> {
    let Fold::Number(number) = fold else {
        let all = sorted(identifiers);
        let split = Split { train: all.clone(), val: all };
        return Ok(ChosenSplit { split, origin: "all cases, no split".into(), warnings: Vec::new() });
    };
    let (splits, origin) = if splits_file.exists() {
        (load(splits_file)?, format!("existing {}", splits_file.display()))
    } else {
        let splits = crossval_splits(identifiers, splits_file)?;
        save(&splits, splits_file)?;
        (splits, format!("new {FOLDS}-fold cross-validation, saved as {}", splits_file.display()))
    };
    match splits.get(number as usize) {
        Some(split) => {
            let warnings = check(split, identifiers, splits_file, number)?;
            Ok(ChosenSplit { split: split.clone(), origin, warnings })
        }
        None => {
            let warning = format!(
                "fold {number} was asked for but {} has {} folds: using a random 80:20 split seeded with {}",
                splits_file.display(),
                splits.len(),
                SEED.wrapping_add(number)
            );
            Ok(ChosenSplit {
                split: random_split(identifiers, number),
                origin: "random 80:20 split".into(),
                warnings: vec![warning],
            })
        }
    }
}

/// Reads a splits file.
pub fn load(path: &Path) -> Result<Vec<Split>, DatasetError> {
    let document = Json::load(path)?;
    let bad = |key: String, found: Option<&Json>| DatasetError::BadValue {
        path: path.to_owned(),
        key,
        found: found.map_or("nothing", Json::kind).to_owned(),
        expected: "a list of folds, each {\"train\": [identifiers], \"val\": [identifiers]}".into(),
    };
    let folds = document.as_array().ok_or_else(|| bad("the document".into(), Some(&document)))?;
    let names = |fold: usize, key: &str| {
        let value = folds[fold].get(key);
        let items =
            value.and_then(Json::as_array).ok_or_else(|| bad(format!("fold {fold}, {key}"), value))?;
        items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| bad(format!("fold {fold}, {key}"), value))
    };
    (0..folds.len())
        .map(|fold| Ok(Split { train: names(fold, "train")?, val: names(fold, "val")? }))
        .collect()
}

/// Writes a splits file.
pub fn save(splits: &[Split], path: &Path) -> Result<(), DatasetError> {
    let folds = splits
        .iter()
        .map(|split| {
            Json::object([
                ("train", split.train.as_slice().into()),
                ("val", Json::from(split.val.as_slice())),
            ])
        })
        .collect();
    Ok(Json::Array(folds).save(path, KeyOrder::Sorted)?)
}

fn sorted(identifiers: &[String]) -> Vec<String> {
    let mut keys = identifiers.to_vec();
    keys.sort();
    keys
}

/// Warnings for what may be intended, an error for what cannot be trained.
fn check(split: &Split, identifiers: &[String], path: &Path, fold: u32) -> Result<Vec<String>, DatasetError> {
    let known: HashSet<&String> = identifiers.iter().collect();
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for (name, list) in [("train", &split.train), ("val", &split.val)] {
        let unknown: Vec<_> = list.iter().filter(|key| !known.contains(key)).map(String::as_str).collect();
        if !unknown.is_empty() {
            problems.push(format!("fold {fold}, {name}: these cases do not exist: {}", some(&unknown)));
        }
        let mut seen = HashSet::new();
        let twice: Vec<_> = list.iter().filter(|key| !seen.insert(*key)).map(String::as_str).collect();
        if !twice.is_empty() {
            warnings.push(format!("{}: fold {fold}, {name} lists twice: {}", path.display(), some(&twice)));
        }
        if list.is_empty() {
            problems.push(format!("fold {fold}, {name}: empty"));
        }
    }
    if !problems.is_empty() {
        return Err(DatasetError::Splits { path: path.to_owned(), problem: problems.join("; ") });
    }
    let train: HashSet<&String> = split.train.iter().collect();
    let both: Vec<_> = split.val.iter().filter(|key| train.contains(key)).map(String::as_str).collect();
    if !both.is_empty() {
        warnings.push(format!(
            "{}: fold {fold} validates on cases that it trains on: {}",
            path.display(),
            some(&both)
        ));
    }
    Ok(warnings)
}

/// The first few of many names.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: usize) -> Vec<String> {
        (0..n).rev().map(|i| format!("case_{i:03}")).collect()
    }

    #[test]
    fn equal_to_the_reference_on_seven_cases() {
        // sklearn.model_selection.KFold(5, shuffle=True, random_state=12345).split(range(7)),
        // RandomState(12345 + 6).choice(7, 5, replace=False)
        let splits = crossval_splits(&ids(7), Path::new("s")).unwrap();
        let val: Vec<Vec<_>> =
            splits.iter().map(|s| s.val.iter().map(|k| &k[k.len() - 1..]).collect()).collect();
        assert_eq!(val, [vec!["3", "6"], vec!["0", "4"], vec!["1"], vec!["5"], vec!["2"]]);
        let random = random_split(&ids(7), 6);
        assert_eq!(
            random.train.iter().map(|k| &k[k.len() - 1..]).collect::<Vec<_>>(),
            ["6", "1", "2", "0", "4"]
        );
        assert_eq!(random.val.len(), 2);
    }

    #[test]
    fn equal_to_the_reference_on_dataset004() {
        let Some(path) = nnunet_testkit::shared::shared_path("reference/dataset004_plans/splits_final.json")
        else {
            return;
        };
        let expected = load(&path).unwrap();
        let mut keys = expected[0].train.clone();
        keys.extend(expected[0].val.clone());
        assert_eq!(crossval_splits(&keys, &path).unwrap(), expected);
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("splits_final.json");
        split_for_fold(&ours, &keys, Fold::Number(0)).unwrap();
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(path).unwrap(), "byte for byte");
    }

    #[test]
    fn the_file_is_made_once_and_then_honoured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits_final.json");
        let chosen = split_for_fold(&path, &ids(10), Fold::Number(1)).unwrap();
        assert_eq!((chosen.split.train.len(), chosen.split.val.len()), (8, 2));
        assert!(chosen.origin.starts_with("new 5-fold"), "{}", chosen.origin);
        let own = [Split { train: vec!["case_001".into(), "case_002".into()], val: vec!["case_002".into()] }];
        save(&own, &path).unwrap();
        let chosen = split_for_fold(&path, &ids(10), Fold::Number(0)).unwrap();
        assert_eq!(chosen.split, own[0]);
        assert!(chosen.warnings[0].contains("validates on cases that it trains on: case_002"));
        let beyond = split_for_fold(&path, &ids(10), Fold::Number(1)).unwrap();
        assert_eq!(beyond.split.train.len(), 8);
        assert!(beyond.warnings[0].contains("has 1 folds"), "{:?}", beyond.warnings);
        let all = split_for_fold(&path, &ids(10), Fold::All).unwrap();
        assert_eq!(all.split.train, all.split.val);
    }

    #[test]
    fn bad_files_are_refused_with_all_their_problems() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits_final.json");
        let message = |text: &str| {
            std::fs::write(&path, text).unwrap();
            split_for_fold(&path, &ids(10), Fold::Number(0)).unwrap_err().to_string()
        };
        let unknown = message(r#"[{"train": ["case_001", "x"], "val": []}]"#);
        assert!(unknown.contains("do not exist: x") && unknown.contains("val: empty"), "{unknown}");
        assert!(message(r#"{"train": []}"#).contains("the document: found an object"));
        assert!(message(r#"[{"train": ["case_001"]}]"#).contains("fold 0, val: found nothing"));
        assert!(message("[").contains("not valid JSON"));
        let few = crossval_splits(&ids(4), &path).unwrap_err().to_string();
        assert!(few.contains("4 cases cannot be split into 5 folds"), "{few}");
        assert!("five".parse::<Fold>().is_err());
    }
}
