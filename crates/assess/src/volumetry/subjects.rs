//! `subjects.tsv`: which case is which subject, when, and in which group.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use nnunet_base::spelling::closest;

/// Subject, time point and group of each case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subjects {
    rows: IndexMap<String, Row>,
    /// Groups in the order of the file: the first is the one that others are compared with.
    groups: Vec<String>,
    /// Time points in their order: of numbers if all are, else of the file.
    times: Vec<String>,
    /// What was not as expected, a line each.
    warnings: Vec<String>,
}

/// What the file says of a case.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Row {
    pub(super) subject: String,
    pub(super) time: Option<String>,
    pub(super) group: Option<String>,
    /// Further columns, by their names: strata.
    pub(super) strata: Vec<(String, String)>,
}

/// Why a table of subjects cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectsError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A column is missing.
    #[error(
        "{path}: there is no column {column:?} in the first line ({found}){meant}; expected case, subject and, if there \
         are any, time and group, separated by tabs",
        path = path.display(),
        meant = meant.as_ref().map_or_else(String::new, |name| format!("; is {name:?} meant to be it?"))
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns that there are.
        found: String,
        /// The one that may be meant.
        meant: Option<String>,
    },
    /// A line does not fit.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl Subjects {
    /// Reads a table with the columns `case`, `subject` and, if there are any, `time` and `group`, in any order; further
    /// columns are strata. Cases may have the ending of their file.
    ///
    /// # Errors
    /// See [`SubjectsError`]: a column is missing, a line has too many or too few fields, two lines differ on a case.
    pub fn load(path: &Path) -> Result<Self, SubjectsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SubjectsError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SubjectsError> {
        let mut lines =
            text.trim_start_matches('\u{feff}').lines().enumerate().map(|(i, line)| (i + 1, line));
        let header: Vec<&str> =
            lines.next().map_or("", |(_, line)| line).split('\t').map(str::trim).collect();
        let column = |name: &'static str| header.iter().position(|found| found.eq_ignore_ascii_case(name));
        let required = |name: &'static str| {
            column(name).ok_or_else(|| SubjectsError::Column {
                path: path.to_owned(),
                column: name,
                found: header.join(", "),
                meant: closest(name, header.iter().copied()).map(str::to_owned),
            })
        };
        let (case, subject) = (required("case")?, required("subject")?);
        let (time, group) = (column("time"), column("group"));
        let mut subjects = Self::default();
        let mut repeated = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let wrong =
                |problem: String| SubjectsError::Line { path: path.to_owned(), line: number, problem };
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            if fields.len() != header.len() {
                return Err(wrong(format!(
                    "{} fields, expected {} as in the first line, separated by tabs",
                    fields.len(),
                    header.len()
                )));
            }
            if fields[case].is_empty() || fields[subject].is_empty() {
                return Err(wrong("no case or no subject; give both".to_owned()));
            }
            let optional = |at: Option<usize>| {
                at.map(|at| fields[at]).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let strata = header.iter().zip(&fields).enumerate().filter(|(at, (_, value))| {
                ![Some(*at) == time, Some(*at) == group, *at == case, *at == subject].contains(&true)
                    && !value.is_empty()
            });
            let row = Row {
                subject: fields[subject].to_owned(),
                time: optional(time),
                group: optional(group),
                strata: strata.map(|(_, (name, value))| ((*name).to_owned(), (*value).to_owned())).collect(),
            };
            let name = case_name(fields[case]);
            match subjects.rows.get(name) {
                Some(known) if *known == row => repeated.push(name.to_owned()),
                Some(_) => {
                    return Err(wrong(format!(
                        "case {name} was given before, and differently; leave one line"
                    )));
                }
                None => {
                    let remember = |all: &mut Vec<String>, value: &Option<String>| {
                        if let Some(value) = value.as_ref().filter(|value| !all.contains(value)) {
                            all.push(value.clone());
                        }
                    };
                    remember(&mut subjects.groups, &row.group);
                    remember(&mut subjects.times, &row.time);
                    subjects.rows.insert(name.to_owned(), row);
                }
            }
        }
        if !repeated.is_empty() {
            subjects.warnings.push(format!(
                "{}: given twice, counted once: {}",
                path.display(),
                some_of(&repeated)
            ));
        }
        let number = |time: &String| time.parse::<f64>().ok().filter(|number| number.is_finite());
        if subjects.times.iter().all(|time| number(time).is_some()) {
            subjects
                .times
                .sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal));
        }
        Ok(subjects)
    }

    /// What the file says of a case.
    pub(super) fn get(&self, case: &str) -> Option<&Row> {
        self.rows.get(case)
    }

    pub(super) fn groups(&self) -> &[String] {
        &self.groups
    }

    pub(super) fn times(&self) -> &[String] {
        &self.times
    }

    /// What is to be said about the file and the cases that were evaluated, a line each.
    pub(super) fn warnings(&self, evaluated: &[&str]) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        let unknown: Vec<String> =
            self.rows.keys().filter(|case| !evaluated.contains(&case.as_str())).cloned().collect();
        if !unknown.is_empty() {
            warnings.push(format!("subjects without an evaluated case, left out: {}", some_of(&unknown)));
        }
        let missing: Vec<String> = evaluated
            .iter()
            .filter(|case| !self.rows.contains_key(**case))
            .map(|case| (*case).to_owned())
            .collect();
        if !missing.is_empty() {
            warnings.push(format!(
                "cases that are not in the table of subjects, left out of changes and groups: {}",
                some_of(&missing)
            ));
        }
        let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
        let mut twice = Vec::new();
        for (case, row) in self.rows.iter().filter(|(case, _)| evaluated.contains(&case.as_str())) {
            let pair = (row.subject.as_str(), row.time.as_deref());
            if pairs.contains(&pair) {
                twice.push(case.clone());
            }
            pairs.push(pair);
        }
        if !twice.is_empty() {
            warnings.push(format!(
                "subjects with several cases at one time, of which the first counts: {}",
                some_of(&twice)
            ));
        }
        if self.times.len() == 1 {
            warnings.push(format!("all cases are of one time ({}): no changes over time", self.times[0]));
        }
        for group in &self.groups {
            let rows = self.rows.iter().filter(|(case, row)| {
                row.group.as_ref() == Some(group) && evaluated.contains(&case.as_str())
            });
            let mut members: Vec<&str> = rows.map(|(_, row)| row.subject.as_str()).collect();
            members.sort_unstable();
            members.dedup();
            if members.len() < 2 {
                warnings.push(format!(
                    "group {group} has {} subject(s): its effect cannot be tested",
                    members.len()
                ));
            }
        }
        warnings
    }
}

/// The name of a case without the ending of an image.
pub(super) fn case_name(name: &str) -> &str {
    let endings = [".nii.gz", ".nii", ".nrrd", ".mha", ".tif", ".tiff", ".png", ".bmp"];
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The first of some names, and how many more there are.
fn some_of(names: &[String]) -> String {
    let shown = names[..names.len().min(5)].join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Subjects, String> {
        Subjects::parse(text, Path::new("subjects.tsv")).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_in_any_order_and_times_as_numbers() {
        let subjects =
            parse("subject\tcase\tsite\ttime\tgroup\ns1\ta.nii.gz\tX\t10\tcontrol\ns1\tb\tY\t9\tcontrol\n")
                .unwrap();
        assert_eq!(subjects.times(), ["9", "10"]);
        let row = subjects.get("a").unwrap();
        assert_eq!((row.subject.as_str(), row.group.as_deref()), ("s1", Some("control")));
        assert_eq!(row.strata, [("site".to_owned(), "X".to_owned())]);
    }

    #[test]
    fn faults_name_line_and_remedy() {
        assert_eq!(
            parse("case\tsubjct\na\ts\n").unwrap_err(),
            "subjects.tsv: there is no column \"subject\" in the first line (case, subjct); is \"subjct\" meant to be it?; \
             expected case, subject and, if there are any, time and group, separated by tabs"
        );
        assert_eq!(
            parse("case\tsubject\na\ts\tx\n").unwrap_err(),
            "subjects.tsv, line 2: 3 fields, expected 2 as in the first line, separated by tabs"
        );
        assert!(
            parse("case\tsubject\na\ts\na\tt\n").unwrap_err().contains("line 3: case a was given before")
        );
    }

    #[test]
    fn what_is_odd_is_a_line_each() {
        let subjects = parse(
            "case\tsubject\ttime\tgroup\na\ts\t1\tx\na\ts\t1\tx\nb\tt\t1\ty\nc\tu\t1\tx\ngone\tv\t1\tx\n",
        )
        .unwrap();
        assert_eq!(
            subjects.warnings(&["a", "b", "c", "new"]),
            [
                "subjects.tsv: given twice, counted once: a",
                "subjects without an evaluated case, left out: gone",
                "cases that are not in the table of subjects, left out of changes and groups: new",
                "all cases are of one time (1): no changes over time",
                "group y has 1 subject(s): its effect cannot be tested",
            ]
        );
    }
}
