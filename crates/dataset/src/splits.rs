//! Which cases a fold trains on and which it validates on.
//!
//! The default is the reference's: five folds of scikit-learn's `KFold(shuffle=True,
//! random_state=12345)` over the sorted identifiers, kept in `splits_final.json`; over the sorted patients where the
//! dataset names them. A file that is there already is used as it is.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::DatasetError;
pub use super::fold::Fold;
use super::patients::{Patients, some};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_pyformats::numpy_random::RandomState;

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

/// Splits of a cross-validation with the reference's generator over the sorted `groups`, each of which stays together:
/// the cases of a patient, or one case.
///
/// # Errors
/// Fewer groups than folds; `path` is for the message.
pub fn crossval_splits(groups: &[Vec<String>], path: &Path) -> Result<Vec<Split>, DatasetError> {
    let count = groups.len();
    if count < FOLDS {
        let what = if groups.iter().all(|group| group.len() == 1) { "cases" } else { "patients" };
        return Err(DatasetError::Splits {
            path: path.to_owned(),
            problem: format!(
                "{count} {what} cannot be split into {FOLDS} folds; train fold \"all\" or write this file yourself"
            ),
        });
    }
    let order = RandomState::new(SEED).permutation(count);
    let mut start = 0;
    Ok((0..FOLDS)
        .map(|fold| {
            let size = count / FOLDS + usize::from(fold < count % FOLDS);
            let held_out: HashSet<usize> = order[start..start + size].iter().copied().collect();
            start += size;
            let part = |val: bool| {
                let chosen = groups.iter().enumerate().filter(|(i, _)| held_out.contains(i) == val);
                sorted(chosen.flat_map(|(_, group)| group.iter().cloned()))
            };
            Split { train: part(false), val: part(true) }
        })
        .collect())
}

/// The seeded 80:20 split of `groups` that the reference uses for a fold that the splits file has not.
pub fn random_split(groups: &[Vec<String>], fold: u32) -> Split {
    let chosen = RandomState::new(SEED.wrapping_add(fold))
        .choice_without_replacement(groups.len(), (groups.len() as f64 * 0.8) as usize);
    let in_train: HashSet<usize> = chosen.iter().copied().collect();
    let rest = (0..groups.len()).filter(|i| !in_train.contains(i));
    Split {
        train: chosen.iter().flat_map(|&i| groups[i].iter().cloned()).collect(),
        val: rest.flat_map(|i| groups[i].iter().cloned()).collect(),
    }
}

/// What stays together: the cases of each patient, or each case alone.
fn groups(identifiers: &[String], patients: Option<&Patients>) -> Result<Vec<Vec<String>>, DatasetError> {
    match patients {
        Some(patients) => patients.groups(identifiers),
        None => Ok(sorted(identifiers.iter().cloned()).into_iter().map(|case| vec![case]).collect()),
    }
}

/// Training and validation cases of `fold`, out of `identifiers`, the preprocessed cases.
///
/// Reads `splits_file`; writes the default splits there if it does not exist, with all cases of one of `patients` in the
/// same fold. `Fold::All` neither reads nor writes it.
///
/// # Errors
/// The file cannot be read or written, is not a list of splits, or names cases that do not exist; a case without
/// patient, where splits are made.
pub fn split_for_fold(
    splits_file: &Path,
    identifiers: &[String],
    patients: Option<&Patients>,
    fold: Fold,
) -> Result<ChosenSplit, DatasetError> {
    let Fold::Number(number) = fold else {
        let all = sorted(identifiers.iter().cloned());
        let split = Split { train: all.clone(), val: all };
        return Ok(ChosenSplit { split, origin: "all cases, no split".into(), warnings: Vec::new() });
    };
    let (splits, origin) = if splits_file.exists() {
        (load(splits_file)?, format!("existing {}", splits_file.display()))
    } else {
        let splits = crossval_splits(&groups(identifiers, patients)?, splits_file)?;
        save(&splits, splits_file)?;
        let by = if patients.is_some() { " by patient" } else { "" };
        (splits, format!("new {FOLDS}-fold cross-validation{by}, saved as {}", splits_file.display()))
    };
    match splits.get(number as usize) {
        Some(split) => {
            let mut warnings = check(split, identifiers, splits_file, number)?;
            warnings.extend(patients.and_then(|patients| torn(split, patients, splits_file, number)));
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
                split: random_split(&groups(identifiers, patients)?, number),
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

fn sorted(identifiers: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut keys: Vec<String> = identifiers.into_iter().collect();
    keys.sort();
    keys
}

/// A warning if scans of the same patient are in both parts of a split.
fn torn(split: &Split, patients: &Patients, path: &Path, fold: u32) -> Option<String> {
    let trained: HashSet<&str> = split.train.iter().filter_map(|case| patients.of_case(case)).collect();
    let both = split.val.iter().filter(|case| !split.train.contains(case));
    let both = both.filter_map(|case| patients.of_case(case)).filter(|patient| trained.contains(patient));
    let both: Vec<&str> = both.collect::<BTreeSet<_>>().into_iter().collect();
    (!both.is_empty()).then(|| {
        let path = path.display();
        format!("{path}: fold {fold} validates on other scans of patients that it trains on: {}", some(&both))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(cases: &[String]) -> Vec<Vec<String>> {
        groups(cases, None).unwrap()
    }

    fn ids(n: usize) -> Vec<String> {
        (0..n).rev().map(|i| format!("case_{i:03}")).collect()
    }

    #[test]
    fn equal_to_the_reference_on_seven_cases() {
        // sklearn.model_selection.KFold(5, shuffle=True, random_state=12345).split(range(7)),
        // RandomState(12345 + 6).choice(7, 5, replace=False)
        let splits = crossval_splits(&alone(&ids(7)), Path::new("s")).unwrap();
        let val: Vec<Vec<_>> =
            splits.iter().map(|s| s.val.iter().map(|k| &k[k.len() - 1..]).collect()).collect();
        assert_eq!(val, [vec!["3", "6"], vec!["0", "4"], vec!["1"], vec!["5"], vec!["2"]]);
        let random = random_split(&alone(&ids(7)), 6);
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
        assert_eq!(crossval_splits(&alone(&keys), &path).unwrap(), expected);
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("splits_final.json");
        split_for_fold(&ours, &keys, None, Fold::Number(0)).unwrap();
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(path).unwrap(), "byte for byte");
    }

    #[test]
    fn the_file_is_made_once_and_then_honoured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits_final.json");
        let chosen = split_for_fold(&path, &ids(10), None, Fold::Number(1)).unwrap();
        assert_eq!((chosen.split.train.len(), chosen.split.val.len()), (8, 2));
        assert!(chosen.origin.starts_with("new 5-fold"), "{}", chosen.origin);
        let own = [Split { train: vec!["case_001".into(), "case_002".into()], val: vec!["case_002".into()] }];
        save(&own, &path).unwrap();
        let chosen = split_for_fold(&path, &ids(10), None, Fold::Number(0)).unwrap();
        assert_eq!(chosen.split, own[0]);
        assert!(chosen.warnings[0].contains("validates on cases that it trains on: case_002"));
        let beyond = split_for_fold(&path, &ids(10), None, Fold::Number(1)).unwrap();
        assert_eq!(beyond.split.train.len(), 8);
        assert!(beyond.warnings[0].contains("has 1 folds"), "{:?}", beyond.warnings);
        let all = split_for_fold(&path, &ids(10), None, Fold::All).unwrap();
        assert_eq!(all.split.train, all.split.val);
    }

    #[test]
    fn bad_files_are_refused_with_all_their_problems() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits_final.json");
        let message = |text: &str| {
            std::fs::write(&path, text).unwrap();
            split_for_fold(&path, &ids(10), None, Fold::Number(0)).unwrap_err().to_string()
        };
        let unknown = message(r#"[{"train": ["case_001", "x"], "val": []}]"#);
        assert!(unknown.contains("do not exist: x") && unknown.contains("val: empty"), "{unknown}");
        assert!(message(r#"{"train": []}"#).contains("the document: found an object"));
        assert!(message(r#"[{"train": ["case_001"]}]"#).contains("fold 0, val: found nothing"));
        assert!(message("[").contains("not valid JSON"));
        let few = crossval_splits(&alone(&ids(4)), &path).unwrap_err().to_string();
        assert!(few.contains("4 cases cannot be split into 5 folds"), "{few}");
        assert!("five".parse::<Fold>().is_err());
    }

    #[test]
    fn scans_of_a_patient_stay_together() {
        let folder = tempfile::tempdir().unwrap();
        // Patients in the order of seven single cases: the folds are those of seven cases.
        let table: String =
            ids(17).iter().enumerate().map(|(i, case)| format!("{case}\tP{}\n", i % 7)).collect();
        std::fs::write(folder.path().join("patients.tsv"), table).unwrap();
        let patients = Patients::load(folder.path()).unwrap().unwrap();
        let path = folder.path().join("splits_final.json");
        let of = |cases: &[String]| -> BTreeSet<String> {
            cases.iter().map(|case| patients.of_case(case).unwrap().to_owned()).collect()
        };
        let mut validated = Vec::new();
        for (fold, expected) in
            [vec!["P3", "P6"], vec!["P0", "P4"], vec!["P1"], vec!["P5"], vec!["P2"]].iter().enumerate()
        {
            let chosen = split_for_fold(&path, &ids(17), Some(&patients), Fold::Number(fold as u32)).unwrap();
            assert_eq!(of(&chosen.split.val).iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
            assert!(
                of(&chosen.split.train).is_disjoint(&of(&chosen.split.val)) && chosen.warnings.is_empty()
            );
            assert_eq!(chosen.split.train.len() + chosen.split.val.len(), 17);
            assert!(chosen.split.val.is_sorted() && chosen.split.train.is_sorted());
            validated.extend(chosen.split.val);
        }
        assert_eq!(sorted(validated), sorted(ids(17)));
        let beyond = split_for_fold(&path, &ids(17), Some(&patients), Fold::Number(9)).unwrap().split;
        assert!(of(&beyond.train).is_disjoint(&of(&beyond.val)) && of(&beyond.train).len() == 5);

        // A file that is there wins, with a word on what it does.
        let cases = ids(17);
        let own = [Split { train: cases[1..].to_vec(), val: cases[..1].to_vec() }];
        save(&own, &path).unwrap();
        let chosen = split_for_fold(&path, &cases, Some(&patients), Fold::Number(0)).unwrap();
        assert_eq!(chosen.split, own[0]);
        assert!(
            chosen.warnings[0].contains("other scans of patients that it trains on: P0"),
            "{:?}",
            chosen.warnings
        );
    }

    #[test]
    fn patients_must_fit_where_splits_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits_final.json");
        let message = |table: &str, cases: &[String]| {
            std::fs::write(folder.path().join("patients.tsv"), table).unwrap();
            let patients = Patients::load(folder.path()).unwrap();
            split_for_fold(&path, cases, patients.as_ref(), Fold::Number(0)).unwrap_err().to_string()
        };
        assert!(message("case_000\tP\n", &ids(2)).contains("have no patient: case_001"));
        let text = message("case_000\tP\ncase_001\tP\n", &ids(2));
        assert!(text.contains("1 patients cannot be split into 5 folds"), "{text}");
        assert!(!path.exists());
    }
}
