//! `qc.tsv`: a line for each predicted case, those to look at first on top.

use std::io;
use std::path::{Path, PathBuf};

use nnunet_base::files::write_atomic;

use super::score::CaseQuality;

/// The table of a folder of predictions. It is written anew after each case, so that an interrupted run can be resumed.
///
/// Columns: `case`, `score` (see [`CaseQuality::score`]), `passes`, `entropy`, `mutual_information`, `expected_dice`, for each class
/// `NAME expected_dice`, `NAME ml` and `NAME deviations`, and `look_at`, the reasons in words. Numbers that are not known are `nan`.
#[derive(Debug)]
pub struct QualityTable {
    path: PathBuf,
    heading: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    case: String,
    score: f64,
    text: String,
}

/// Name of the table of part `part` of `parts` into which the cases are divided: `qc.tsv` if there is one part only.
pub fn quality_file_name(part: usize, parts: usize) -> String {
    if parts > 1 { format!("qc_part_{part}.tsv") } else { "qc.tsv".to_owned() }
}

impl QualityTable {
    /// The table `path` for classes called `names`, with the cases that it has already. A table of other classes is begun anew.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn open(path: PathBuf, names: &[String]) -> io::Result<Self> {
        let heading = heading(names);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let columns = heading.split('\t').count();
        let lines = match text.split_once('\n') {
            Some((first, rest)) if first == heading => rest
                .lines()
                .filter(|line| line.split('\t').count() == columns)
                .filter_map(Line::parse)
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self { path, heading, lines })
    }

    /// Whether it has a line for `case`.
    pub fn has(&self, case: &str) -> bool {
        self.lines.iter().any(|line| line.case == case)
    }

    /// Adds a case, in the place of its earlier line, and writes the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, quality: &CaseQuality) -> io::Result<()> {
        self.lines.retain(|line| line.case != quality.identifier);
        let text = line(quality);
        self.lines.push(Line { case: quality.identifier.clone(), score: quality.score, text });
        self.lines.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.case.cmp(&b.case)));
        let lines = self.lines.iter().map(|line| line.text.as_str());
        let text: String =
            std::iter::once(self.heading.as_str()).chain(lines).flat_map(|line| [line, "\n"]).collect();
        write_atomic(&self.path, text.as_bytes())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A case of a [`QualityTable`] as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Warned {
    /// The case.
    pub case: String,
    /// See [`CaseQuality::score`].
    pub score: f64,
    /// See [`CaseQuality::reasons`].
    pub reasons: String,
}

/// The cases of all tables in a folder of predictions, that is those of all its parts, the highest score first; none where there is
/// no table.
///
/// # Errors
/// A table that cannot be read.
pub fn warned_in(folder: &Path) -> io::Result<Vec<Warned>> {
    let mut warned = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(warned),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != "qc.tsv" && !(name.starts_with("qc_part_") && name.ends_with(".tsv")) {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(&*name))?;
        warned.extend(text.lines().skip(1).filter_map(Line::parse).map(|line| Warned {
            reasons: line.text.rsplit('\t').next().unwrap_or_default().to_owned(),
            case: line.case,
            score: line.score,
        }));
    }
    warned.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.case.cmp(&b.case)));
    Ok(warned)
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('\t');
        let case = fields.next()?.to_owned();
        Some(Self { case, score: fields.next()?.parse().ok()?, text: text.to_owned() })
    }
}

fn heading(names: &[String]) -> String {
    let mut columns: Vec<String> =
        ["case", "score", "passes", "entropy", "mutual_information", "expected_dice"]
            .map(str::to_owned)
            .into();
    for name in names {
        columns.extend(["expected_dice", "ml", "deviations"].map(|what| format!("{name} {what}")));
    }
    columns.push("look_at".to_owned());
    columns.join("\t")
}

fn line(quality: &CaseQuality) -> String {
    let mut fields = vec![quality.identifier.clone(), number(quality.score), quality.passes.to_string()];
    fields.extend([quality.entropy, quality.mutual_information, quality.expected_dice].map(number));
    for class in &quality.classes {
        fields.extend([class.expected_dice, class.ml, class.deviations].map(number));
    }
    fields.push(quality.reasons.clone());
    fields.join("\t")
}

/// A number as Python and R read it.
fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(case: &str, score: f64) -> CaseQuality {
        CaseQuality {
            identifier: case.to_owned(),
            score,
            passes: 8,
            entropy: 0.25,
            mutual_information: f64::NAN,
            expected_dice: 0.5,
            classes: Vec::new(),
            reasons: "look".to_owned(),
        }
    }

    #[test]
    fn the_worst_cases_come_first_and_a_resumed_table_keeps_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qc.tsv");
        let mut table = QualityTable::open(path.clone(), &[]).unwrap();
        table.add(&quality("good", 0.1)).unwrap();
        table.add(&quality("bad", 0.9)).unwrap();
        let mut table = QualityTable::open(path.clone(), &[]).unwrap();
        assert!(table.has("good") && !table.has("new"));
        table.add(&quality("good", 0.2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = "case\tscore\tpasses\tentropy\tmutual_information\texpected_dice\tlook_at\n\
                        bad\t0.9000\t8\t0.2500\tnan\t0.5000\tlook\ngood\t0.2000\t8\t0.2500\tnan\t0.5000\tlook\n";
        assert_eq!(text, expected);
        let warned = warned_in(folder.path()).unwrap();
        let ranking: Vec<_> =
            warned.iter().map(|one| (one.case.as_str(), one.score, one.reasons.as_str())).collect();
        assert_eq!(ranking, [("bad", 0.9, "look"), ("good", 0.2, "look")]);
        // Other classes: another table.
        assert!(!QualityTable::open(path, &["a".to_owned()]).unwrap().has("bad"));
    }
}
