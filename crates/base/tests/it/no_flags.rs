//! No text of a library names a flag or a verb of the program: its readers may have neither. Errors have a
//! `nnunet_base::hint::Hint` instead, and the program puts it into words.

use std::path::{Path, PathBuf};

/// Crates that are no libraries of the pipeline: the program itself, and tools of tests.
const EXEMPT_CRATES: [&str; 2] = ["cli", "testkit"];
/// Files and folders whose purpose are command lines: instructions to read, and programs to run.
const COMMAND_LINES: [&str; 4] = [
    "nnunet/src/select/instructions.rs",
    "nnunet/src/submit/",
    "federated/src/simulate/",
    "exec-torch/src/python.rs",
];
/// What looks like a flag and is none of ours: numbers in JSON and messages, the limits of a shell, ends of file names, a colour.
const NO_FLAGS: [&str; 8] = ["-infinity", "-Infinity", "-v", "-d", "-byte", "-ref", "-pred", "--paper"];

/// The string literals of Rust source, each with its line; comments and the module of tests are left out.
fn literals(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let characters: Vec<char> = source.chars().collect();
    let at = |i: usize| characters.get(i).copied().unwrap_or('\0');
    let (mut found, mut line, mut i) = (Vec::new(), 1, 0);
    while i < characters.len() {
        match at(i) {
            '\n' => {
                line += 1;
                i += 1;
            }
            '/' if at(i + 1) == '/' => {
                while i < characters.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            // A character, which may be a quote; a lifetime has no second apostrophe there.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while i < characters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            '"' => {
                let begun = line;
                let mut text = String::new();
                i += 1;
                while i < characters.len() && at(i) != '"' {
                    if at(i) == '\\' && at(i + 1) == '\n' {
                        // The text goes on after the blanks of the next line.
                        line += 1;
                        i += 2;
                        while at(i) == ' ' {
                            i += 1;
                        }
                        continue;
                    }
                    if at(i) == '\\' {
                        i += 1;
                    }
                    line += usize::from(at(i) == '\n');
                    text.push(at(i));
                    i += 1;
                }
                i += 1;
                found.push((begun, text));
            }
            _ => i += 1,
        }
    }
    found
}

/// The flags and verbs that a text names.
fn named(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "(),;:`\"".contains(c));
    let is_flag = |word: &&str| {
        let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        body.is_some_and(|body| body.starts_with(|c: char| c.is_ascii_alphabetic()))
            && !NO_FLAGS.contains(word)
    };
    let mut found: Vec<&str> = words.map(|word| word.trim_end_matches('.')).filter(is_flag).collect();
    let is_verb = ["`nnunet ", "run nnunet ", "with nnunet "].iter().any(|words| text.contains(words));
    found.extend(is_verb.then_some("`nnunet"));
    found
}

/// Every file of Rust source in `folder`.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn texts_of_libraries_name_no_flags() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if folder.join("src").is_dir() && !EXEMPT_CRATES.contains(&name.as_str()) {
            sources(&folder.join("src"), &mut files);
        }
    }
    assert!(files.len() > 300, "only {} files were found", files.len());
    let mut faults = Vec::new();
    for file in files {
        let name = file.strip_prefix(crates).unwrap().to_string_lossy().replace('\\', "/");
        if COMMAND_LINES.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        for (line, text) in literals(&std::fs::read_to_string(&file).unwrap()) {
            let named = named(&text);
            if !named.is_empty() {
                faults.push(format!("{name}:{line}: {} in {text:?}", named.join(" ")));
            }
        }
    }
    assert!(faults.is_empty(), "use a hint and name flags in cli/src/hints.rs:\n{}", faults.join("\n"));
}

#[test]
fn flags_are_found_where_they_are_named() {
    let source = "let a = \"folder. Name it \\\n    with -chk or (--max-ram).\"; // \"-x\"\nlet q = '\"'; let b = \"run `nnunet \
                  verify`\";";
    let texts = literals(source);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(named(&texts[0].1), ["-chk", "--max-ram"]);
    assert_eq!((texts[1].0, named(&texts[1].1)), (3, vec!["`nnunet"]));
    assert!(named("from -1.5 to -infinity, 16-bit, nearest-neighbour, a - b").is_empty());
}
