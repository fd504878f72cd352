//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod dataset;
mod evaluation;
mod training;

/// A name that is markup where it is not escaped.
const HOSTILE: &str = "</title><script>alert(\"x\")</script>&'";

/// Fails if the page has markup that is not its own, or asks for anything from elsewhere.
fn assert_self_contained(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>"));
    assert_eq!(html.matches("<script").count(), 1, "the page has one script, its own");
    assert_eq!(html.matches("</title><").count(), html.matches("<title").count(), "{html}");
    assert!(html.contains("default-src 'none'"));
    let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http:", "https:", "<link", "@import", "url(", "src=", "onload", "onerror"] {
        assert!(!elsewhere.contains(forbidden), "{forbidden}");
    }
    for figure in html.split("<figure>").skip(1) {
        let alternative = figure.split("aria-label=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert!(alternative.is_some_and(|text| text.len() > 10), "{figure}");
    }
}
