//! Manual pages.

use std::process::Command;

use nnunet_testkit::skip::skip;

use super::common::{Place, text};

#[test]
fn every_verb_has_a_page_that_formatters_take() {
    let place = Place::new();
    place.succeed("man --out pages");
    let pages: Vec<_> =
        std::fs::read_dir(place.path("pages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 25, "{pages:?}");
    for page in &pages {
        let text_of = |program: &str, words: &[&str]| {
            let output = Command::new(program).args(words).arg(page).env("MANWIDTH", "80").output().ok()?;
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{}: {said}", page.display());
            Some(said)
        };
        // Errors only: mandoc would like a date on each page.
        if text_of("mandoc", &["-Tlint", "-Werror"]).is_none() {
            skip("mandoc is not installed");
        }
        match text_of("man", &["--warnings", "-l"]) {
            Some(said) => assert!(said.contains("SYNOPSIS"), "{said}"),
            None => skip("man is not installed"),
        }
    }
}

#[test]
fn a_page_has_what_the_help_page_has() {
    let place = Place::new();
    let page = place.succeed("man predict");
    assert!(page.starts_with(".TH NNUNET\\-PREDICT 1 "), "{page}");
    for words in [".SS Speed and memory", "\\-\\-max\\-ram GB", ".SH EXAMPLES", "nnUNetv2_predict"] {
        assert!(page.contains(words), "{words}");
    }
    let page = place.succeed("man");
    assert!(page.contains(".SH EXIT STATUS") && page.contains("nnUNet_raw"), "{page}");
    assert_eq!(place.run("man nothing").status.code(), Some(2));
    assert_eq!(place.run("man predict --out x").status.code(), Some(2));
}
