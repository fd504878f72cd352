//! The reference pages of the book, made from the tables of the program and held against `docs/src/reference`.
//!
//! After a change of a table, `NNUNET_UPDATE_SNAPSHOTS=1 cargo test -p nnunet-cli --lib reference_pages` writes them anew.

use std::path::Path;

use nnunet::Registry;

use crate::commands::{all, examples};
use crate::environment::VARIABLES;
use crate::flags::{Command, EXIT_STATUSES};
use crate::progress::example_records;

/// Text as Markdown shows it in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn table(head: [&str; 2], rows: impl Iterator<Item = (String, String)>) -> String {
    let mut text = format!("| {} | {} |\n|---|---|\n", head[0], head[1]);
    for (left, right) in rows {
        text.push_str(&format!("| `{}` | {} |\n", left.replace('|', "\\|"), cell(&right)));
    }
    text
}

fn verb(command: &Command) -> String {
    let mut page = format!("\n## {}\n\n```text\nnnunet {}\n```\n\n", command.verb, command.usage());
    page.push_str(&cell(&command.description.split_whitespace().collect::<Vec<_>>().join(" ")));
    page.push('\n');
    if !command.reference_names.is_empty() {
        let names: Vec<String> = command.reference_names.iter().map(|name| format!("`{name}`")).collect();
        page.push_str(&format!("\nAlso called {}.\n", names.join(", ")));
    }
    if !command.positionals.is_empty() {
        let rows = command.positionals.iter().map(|p| (p.name.to_owned(), p.help.to_owned()));
        page.push_str(&format!("\n{}", table(["argument", "what it is"], rows)));
    }
    for (group, flags) in command.groups() {
        let rows = flags.iter().map(|flag| (flag.synopsis(), flag.help.to_owned()));
        page.push_str(&format!("\n{}", table([group.title(), ""], rows)));
    }
    let examples = examples::of(command.verb);
    if !examples.is_empty() {
        let rows = examples.iter().map(|(line, what)| (format!("nnunet {line}"), (*what).to_owned()));
        page.push_str(&format!("\n{}", table(["example", "what it does"], rows)));
    }
    page
}

fn verbs() -> String {
    let list = all().into_iter().map(|c| (c.verb.to_owned(), c.summary.to_owned()));
    let mut page = format!(
        "# Verbs and flags\n\n`nnunet VERB --help` shows the same in the terminal.\n\n{}",
        table(["verb", "what it does"], list)
    );
    all().into_iter().for_each(|command| page.push_str(&verb(command)));
    page
}

fn environment() -> String {
    let rows = VARIABLES.iter().map(|v| (v.name.to_owned(), v.help.to_owned()));
    let list = table(["variable", "what it does"], rows);
    format!(
        "# Environment variables\n\nA flag wins over its variable. Quotes around values are ignored.\n\n{list}"
    )
}

fn recipes() -> String {
    let recipes = Registry::default().recipes;
    let rows = recipes.iter().map(|(name, summary, _)| (name.to_owned(), summary.to_owned()));
    let list = table(["trainer", "what it does"], rows);
    let default = recipes.iter().next().map(|(_, _, recipe)| recipe.to_toml()).unwrap_or_default();
    format!(
        "# Trainers and recipes\n\nThe names that `-tr` takes. `nnunet trainers NAME` prints each in full; the default is\n\n\
         ```toml\n{}\n```\n\n{list}",
        default.trim_end()
    )
}

fn events() -> String {
    let records: Vec<String> = example_records().iter().map(ToString::to_string).collect();
    format!(
        "# Progress records\n\nWith `--progress json` each line of stdout is one JSON object; `event` says which kind. Records may get \
         further keys, so ignore those you do not know. Times are in seconds since the stage began, `done` and `total` count cases, \
         tiles or iterations. Numbers that are not finite are `null`.\n\n```json\n{}\n```\n",
        records.join("\n")
    )
}

fn exit_codes() -> String {
    let rows = EXIT_STATUSES.iter().map(|(status, meaning)| ((*status).to_owned(), (*meaning).to_owned()));
    format!("# Exit statuses\n\n{}", table(["status", "meaning"], rows))
}

#[test]
fn reference_pages_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference");
    for (name, page) in [
        ("verbs.md", verbs()),
        ("environment.md", environment()),
        ("recipes.md", recipes()),
        ("events.md", events()),
        ("exit-codes.md", exit_codes()),
    ] {
        let path = folder.join(name);
        if std::env::var_os("NNUNET_UPDATE_SNAPSHOTS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &page).unwrap();
            continue;
        }
        // Git may have made the line ends of Windows.
        let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        let differs = found.lines().zip(page.lines()).find(|(a, b)| a != b);
        assert!(
            found == page,
            "{name} is not up to date (NNUNET_UPDATE_SNAPSHOTS=1 cargo test -p nnunet-cli --lib reference_pages writes it): \
             the first lines that differ are {differs:#?}"
        );
    }
}
