//! Which scans are of the same patient, so that all of them come into the same fold.
//!
//! Stated by the author of the dataset (the reference has nothing of the kind), either in dataset.json:
//!
//! ```json
//! "patients": {"liver_001": "P1", "liver_002": "P1", "liver_003": "P2"}
//! ```
//!
//! or beside it in `patients.tsv`: a line for each case, its name and its patient's with a tab between them. A first line
//! `case<tab>patient` is a heading. Every training case belongs to one patient.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::DatasetError;
use nnunet_pyformats::json::Json;

/// Name of the file beside dataset.json.
pub const PATIENTS_FILE: &str = "patients.tsv";

/// The patient of each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patients {
    path: PathBuf,
    of_case: IndexMap<String, String>,
}

impl Patients {
    /// The patients that dataset.json or [`PATIENTS_FILE`] in `folder` name; `None` if neither does.
    ///
    /// # Errors
    /// Both do, a file cannot be read, or an entry is not a case and its patient.
    pub fn load(folder: &Path) -> Result<Option<Self>, DatasetError> {
        let (json, table) = (folder.join("dataset.json"), folder.join(PATIENTS_FILE));
        let document = if json.exists() { Json::load(&json)? } else { Json::Null };
        let listed = document.get("patients");
        match (listed, table.exists()) {
            (None | Some(Json::Null), false) => Ok(None),
            (None | Some(Json::Null), true) => Self::from_table(&table).map(Some),
            (Some(listed), false) => Self::from_json(listed, &json).map(Some),
            (Some(_), true) => Err(DatasetError::Patients {
                path: table,
                problem: "dataset.json has `patients`, too; remove one of the two".to_owned(),
            }),
        }
    }

    fn from_json(listed: &Json, path: &Path) -> Result<Self, DatasetError> {
        let expected = "an object like {\"case_1\": \"patient_1\", \"case_2\": \"patient_1\"}";
        let bad = |key: String, found: &Json| DatasetError::BadValue {
            path: path.to_owned(),
            key,
            found: found.kind().to_owned(),
            expected: expected.to_owned(),
        };
        let listed = listed.as_object().ok_or_else(|| bad("patients".to_owned(), listed))?;
        let of_case = listed
            .iter()
            .map(|(case, patient)| match patient {
                Json::String(name) if !name.is_empty() => Ok((case.clone(), name.clone())),
                Json::Int(number) => Ok((case.clone(), number.to_string())),
                other => Err(bad(format!("patients.{case}"), other)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), of_case })
    }

    fn from_table(path: &Path) -> Result<Self, DatasetError> {
        let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Io {
            path: path.to_owned(),
            expected: "a text file in UTF-8",
            source,
        })?;
        let problem = |line: usize, problem: String| DatasetError::Patients {
            path: path.to_owned(),
            problem: format!("line {line}: {problem}"),
        };
        let mut of_case = IndexMap::new();
        for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
            let (case, patient) = match columns[..] {
                [""] => continue,
                ["case", "patient"] if i == 0 => continue,
                [case, patient] if !case.is_empty() && !patient.is_empty() => (case, patient),
                _ => {
                    let expected = "expected a case and its patient with one tab between them";
                    return Err(problem(i + 1, format!("found {line:?}, {expected}")));
                }
            };
            if of_case.insert(case.to_owned(), patient.to_owned()).is_some() {
                return Err(problem(i + 1, format!("case {case} is there twice")));
            }
        }
        Ok(Self { path: path.to_owned(), of_case })
    }

    /// The patient of `case`.
    pub fn of_case(&self, case: &str) -> Option<&str> {
        self.of_case.get(case).map(String::as_str)
    }

    /// The cases of each patient, both sorted; every one of `cases`, and no other, must be there.
    ///
    /// # Errors
    /// Cases without a patient, and names that are no cases; all are listed.
    pub fn groups(&self, cases: &[String]) -> Result<Vec<Vec<String>>, DatasetError> {
        let missing: Vec<&str> =
            cases.iter().map(String::as_str).filter(|case| !self.of_case.contains_key(*case)).collect();
        let unknown: Vec<&str> =
            self.of_case.keys().map(String::as_str).filter(|name| !cases.iter().any(|c| c == name)).collect();
        let mut problems = Vec::new();
        if !missing.is_empty() {
            problems.push(format!("these cases have no patient: {}", some(&missing)));
        }
        if !unknown.is_empty() {
            problems.push(format!("these are not among the training cases: {}", some(&unknown)));
        }
        if !problems.is_empty() {
            return Err(DatasetError::Patients { path: self.path.clone(), problem: problems.join("; ") });
        }
        let mut groups: std::collections::BTreeMap<&str, Vec<String>> = std::collections::BTreeMap::new();
        for (case, patient) in &self.of_case {
            groups.entry(patient).or_default().push(case.clone());
        }
        Ok(groups
            .into_values()
            .map(|mut cases| {
                cases.sort();
                cases
            })
            .collect())
    }
}

/// The first few of many names.
pub(super) fn some(names: &[&str]) -> String {
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

    fn folder(json: Option<&str>, table: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        if let Some(json) = json {
            std::fs::write(folder.path().join("dataset.json"), json).unwrap();
        }
        if let Some(table) = table {
            std::fs::write(folder.path().join(PATIENTS_FILE), table).unwrap();
        }
        folder
    }

    fn load(json: Option<&str>, table: Option<&str>) -> Result<Option<Patients>, DatasetError> {
        Patients::load(folder(json, table).path())
    }

    #[test]
    fn both_ways_say_the_same() {
        let json =
            load(Some(r#"{"patients": {"c": "P1", "a": "P2", "b": "P1", "d": 7}}"#), None).unwrap().unwrap();
        let table =
            load(Some("{}"), Some("case\tpatient\r\nc\tP1\r\na\tP2\nb\tP1\n\nd\t7\n")).unwrap().unwrap();
        assert_eq!(json.of_case, table.of_case);
        assert_eq!((json.of_case("b"), json.of_case("x")), (Some("P1"), None));
        let cases = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(json.groups(&cases).unwrap(), [vec!["d"], vec!["b", "c"], vec!["a"]]);
        assert_eq!(load(Some(r#"{"patients": null}"#), None).unwrap(), None);
        assert_eq!(load(None, None).unwrap(), None);
    }

    #[test]
    fn wrong_entries_are_named() {
        let error = |json, table| load(json, table).unwrap_err().to_string();
        assert!(error(Some(r#"{"patients": {"a": "P"}}"#), Some("a\tP\n")).contains("remove one of the two"));
        assert!(error(Some(r#"{"patients": ["a"]}"#), None).contains("patients: found a list"));
        assert!(error(Some(r#"{"patients": {"a": []}}"#), None).contains("patients.a: found a list"));
        let text = error(None, Some("a\tP1\na P2\n"));
        assert!(
            text.contains("patients.tsv: patients: line 2: found \"a P2\", expected a case and its patient"),
            "{text}"
        );
        assert!(error(None, Some("a\tP1\na\tP2\n")).contains("line 2: case a is there twice"));

        let patients = load(None, Some("a\tP1\nb\tP1\n")).unwrap().unwrap();
        let text = patients.groups(&["b".into(), "c".into()]).unwrap_err().to_string();
        assert!(
            text.contains("have no patient: c") && text.contains("not among the training cases: a"),
            "{text}"
        );
    }
}
