//! Fingerprints that several machines take together: each puts its part into a file, and the one that finds all
//! parts merges them.
//!
//! ```text
//! nnUNet_preprocessed/DatasetXXX/fingerprint_parts/2_of_8
//! ```
//! A part counts only for the very files it was taken from: names, sizes and times of the last change are in it. It
//! is a line of text, the length of the facts (u64), the facts as JSON, then for each channel the distinct values
//! drawn and how often (u32 each); low byte first.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::extract::{CaseFacts, ExtractOptions, PartialFingerprint, extract_partial, merge};
use super::intensity::Samples;
use super::{Fingerprint, FingerprintError};
use nnunet_base::Ctx;
use nnunet_base::files::write_atomic_with;
use nnunet_dataset::{Case, DatasetJson, Part};
use nnunet_pyformats::json::{Json, KeyOrder};
use nnunet_volume::SpacingMm;

/// First line of a part.
const MAGIC: &[u8] = b"nnunet fingerprint part 1\n";

/// How far a fingerprint is that several machines take together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// All parts were there: dataset_fingerprint.json is written.
    Merged,
    /// These parts are missing; whoever makes the last one merges them.
    Missing(Vec<usize>),
}

/// Takes one part (`options.part`) of the fingerprint of `cases`, unless it is there already and `anew` is not set,
/// and writes dataset_fingerprint.json into `folder` if all parts are there. The result is that of
/// [`super::extract()`] to the bit.
///
/// # Errors
/// As [`super::extract()`]; what the system says to the files.
pub fn extract_part(
    folder: &Path,
    cases: &[Case],
    json: &DatasetJson,
    options: &ExtractOptions,
    anew: bool,
    ctx: Ctx<'_>,
) -> Result<Parts, FingerprintError> {
    let of = options.part.of();
    if of == 1 {
        merge(vec![extract_partial(cases, json, options, ctx)?])?.save(&Fingerprint::path(folder))?;
        return Ok(Parts::Merged);
    }
    let channels = json.num_channels();
    let own = path(folder, options.part);
    if anew || read(&own, options.part, cases, channels).is_none() {
        // As they are before they are read: a file that changes meanwhile makes the part outdated.
        let files = stamps(options.part, cases);
        write(&own, &extract_partial(cases, json, options, ctx)?, files)?;
    }
    let mut parts = Vec::new();
    let mut missing = Vec::new();
    for number in 0..of {
        let part = Part::new(number, of)?;
        match read(&path(folder, part), part, cases, channels) {
            Some(found) => parts.push(found),
            None => missing.push(number),
        }
    }
    if missing.is_empty() {
        merge(parts)?.save(&Fingerprint::path(folder))?;
        for number in 0..of {
            // Another machine may have merged the same parts; what is left is only untidy.
            let _ = std::fs::remove_file(path(folder, Part::new(number, of)?));
        }
        let _ = std::fs::remove_dir(folder.join(FOLDER));
    } else if own.exists() {
        return Ok(Parts::Missing(missing));
    }
    // Parts vanish once another machine has merged them.
    Ok(Parts::Merged)
}

/// Folder of the parts.
const FOLDER: &str = "fingerprint_parts";

fn path(folder: &Path, part: Part) -> PathBuf {
    folder.join(FOLDER).join(format!("{}_of_{}", part.number(), part.of()))
}

/// The files that a part is taken from.
fn stamps(part: Part, cases: &[Case]) -> Option<Json> {
    part.share(cases).map(Case::stamps).collect::<Option<Vec<Json>>>().map(Json::from)
}

fn write(path: &Path, found: &PartialFingerprint, files: Option<Json>) -> Result<(), FingerprintError> {
    let facts = Json::object([
        // A file whose time cannot be told makes a part that does not count.
        ("files", files.unwrap_or(Json::Null)),
        ("spacings", found.cases.iter().map(|case| case.spacing.along_axes()).collect::<Vec<_>>().into()),
        ("shapes", found.cases.iter().map(|case| case.shape_after_crop).collect::<Vec<_>>().into()),
        ("relative_sizes", found.cases.iter().map(|case| case.relative_size).collect::<Vec<_>>().into()),
        ("distinct", found.samples.iter().map(Samples::distinct).collect::<Vec<_>>().into()),
    ]);
    let facts = facts.to_python(KeyOrder::Kept);
    write_atomic_with(path, |out| {
        out.write_all(MAGIC)?;
        out.write_all(&(facts.len() as u64).to_le_bytes())?;
        out.write_all(facts.as_bytes())?;
        for samples in &found.samples {
            for (key, count) in samples.entries() {
                out.write_all(&key.to_le_bytes())?;
                out.write_all(&count.to_le_bytes())?;
            }
        }
        Ok(())
    })
    .map_err(|source| FingerprintError::Part { path: path.to_owned(), source })
}

/// The part at `path`, if it is there, whole, and taken of the files as they are now.
fn read(path: &Path, part: Part, cases: &[Case], channels: usize) -> Option<PartialFingerprint> {
    let file = std::fs::File::open(path).ok()?;
    let mut left = file.metadata().ok()?.len();
    let mut file = BufReader::new(file);
    let mut take = |bytes: u64| -> Option<Vec<u8>> {
        // Sizes in the file are checked against the file before memory is taken.
        left = left.checked_sub(bytes)?;
        let mut read = vec![0; usize::try_from(bytes).ok()?];
        file.read_exact(&mut read).ok()?;
        Some(read)
    };
    if take(MAGIC.len() as u64)? != MAGIC {
        return None;
    }
    let length = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let facts = Json::parse(std::str::from_utf8(&take(length)?).ok()?).ok()?;
    if facts.get("files") != Some(&stamps(part, cases)?) {
        return None;
    }
    let list = |key: &str| facts.get(key).and_then(Json::as_array);
    let triple = |item: &Json| -> Option<[f64; 3]> {
        let numbers: Vec<f64> = item.as_array()?.iter().map(Json::as_f64).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let (spacings, shapes, sizes) = (list("spacings")?, list("shapes")?, list("relative_sizes")?);
    let expected = part.share(cases).count();
    if [spacings, shapes, sizes].iter().any(|list| list.len() != expected) {
        return None;
    }
    let found = (0..expected)
        .map(|i| {
            Some(CaseFacts {
                spacing: SpacingMm::new(triple(&spacings[i])?),
                shape_after_crop: triple(&shapes[i])?.map(|edge| edge as usize),
                relative_size: sizes[i].as_f64()?,
            })
        })
        .collect::<Option<_>>()?;
    let distinct: Vec<u64> =
        list("distinct")?.iter().map(|n| u64::try_from(n.as_i64()?).ok()).collect::<Option<_>>()?;
    let samples: Vec<Samples> = distinct
        .into_iter()
        .map(|n| {
            let bytes = take(n.checked_mul(8)?)?;
            let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
            let entries = (0..bytes.len()).step_by(8).map(|at| Some((number(at)?, number(at + 4)?)));
            entries.collect::<Option<Vec<_>>>().map(Samples::from_entries)
        })
        .collect::<Option<_>>()?;
    (samples.len() == channels && left == 0).then_some(PartialFingerprint { cases: found, samples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::extract;
    use nnunet_base::progress::{Cancel, Silent};
    use nnunet_dataset::cases::training_cases;
    use nnunet_testkit::phantom::PhantomDataset;

    struct Place {
        root: tempfile::TempDir,
        raw: PathBuf,
        json: DatasetJson,
        cases: Vec<Case>,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let phantom = PhantomDataset { cases: 5, channels: 2, ..Default::default() };
            let raw = phantom.write(root.path(), "Dataset001_Balls");
            let json = DatasetJson::load(&raw.join("dataset.json")).unwrap();
            let cases = training_cases(&raw, &json).unwrap();
            Self { root, raw, json, cases }
        }

        fn folder(&self) -> PathBuf {
            self.root.path().join("preprocessed")
        }

        fn part(&self, number: usize, of: usize, anew: bool) -> Parts {
            let options = ExtractOptions { part: Part::new(number, of).unwrap(), ..Default::default() };
            extract_part(
                &self.folder(),
                &self.cases,
                &self.json,
                &options,
                anew,
                Ctx::new(&Silent, &Cancel::new()),
            )
            .unwrap()
        }
    }

    #[test]
    fn parts_in_any_order_make_the_whole_to_the_bit() {
        let place = Place::new();
        let whole = extract(&place.cases, &place.json, Ctx::new(&Silent, &Cancel::new())).unwrap();
        let expected = place.root.path().join("whole.json");
        whole.save(&expected).unwrap();
        // More parts than cases: two are empty.
        for (of, order) in [(1, vec![0]), (3, vec![2, 0, 1]), (7, vec![6, 3, 1, 0, 5, 2, 4])] {
            for (i, &number) in order.iter().enumerate() {
                let found = place.part(number, of, false);
                let mut missing = order[i + 1..].to_vec();
                missing.sort_unstable();
                let expected = if missing.is_empty() { Parts::Merged } else { Parts::Missing(missing) };
                assert_eq!(found, expected);
            }
            let merged = Fingerprint::path(&place.folder());
            assert_eq!(std::fs::read(&merged).unwrap(), std::fs::read(&expected).unwrap());
            assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 1, "parts are gone");
            std::fs::remove_file(merged).unwrap();
        }
    }

    #[test]
    fn parts_of_other_files_and_damaged_ones_do_not_count() {
        let place = Place::new();
        let first = path(&place.folder(), Part::new(0, 2).unwrap());
        assert_eq!(place.part(0, 2, false), Parts::Missing(vec![1]));
        let written = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
        let (before, bytes) = (written(&first), std::fs::read(&first).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(place.part(0, 2, false), Parts::Missing(vec![1]));
        assert_eq!(written(&first), before, "a part that is there is kept");
        place.part(0, 2, true);
        assert_ne!(written(&first), before);
        for damage in [
            bytes[..bytes.len() - 1].to_vec(),
            [&bytes[..], &[0]].concat(),
            bytes[..40].to_vec(),
            [MAGIC, &[255; 8], &bytes[34..]].concat(),
        ] {
            std::fs::write(&first, damage).unwrap();
            assert_eq!(place.part(1, 2, false), Parts::Missing(vec![0]));
        }
        place.part(0, 2, false);
        std::fs::remove_file(Fingerprint::path(&place.folder())).unwrap();
        // Part 0 has the first case, part 1 does not.
        place.part(0, 2, false);
        let image = place.raw.join("imagesTr/ball_000_0001.nii.gz");
        std::fs::copy(place.raw.join("imagesTr/ball_000_0000.nii.gz"), &image).unwrap();
        std::fs::write(&first, &bytes).unwrap();
        assert_eq!(place.part(1, 2, false), Parts::Missing(vec![0]));
        assert_eq!(place.part(0, 2, false), Parts::Merged);
        let whole = extract(&place.cases, &place.json, Ctx::new(&Silent, &Cancel::new())).unwrap();
        assert_eq!(Fingerprint::load(&Fingerprint::path(&place.folder())).unwrap(), whole);
    }
}
