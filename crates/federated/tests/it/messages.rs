//! Messages that are damaged, forged, foreign or of another step.

use std::path::Path;

use nnunet::progress::{Cancel, Silent};
use nnunet::{Ctx, DatasetName};
use nnunet_federated::{Key, Message, Settings, Site, check_output};
use serde_json::Value;

use crate::common::{NAME, Place};

fn refused(folder: &Path, key: Option<&Key>) -> String {
    Message::read(folder, key).unwrap_err().to_string()
}

/// A message with tensors: an exact fingerprint.
fn place() -> Place {
    let place = Place::new();
    place.write_dataset("a", 0..1);
    let settings = place.settings(&["a"], "rounds = 1");
    let size = place.exchange_fingerprints(&["a"], "size", &settings);
    place.exchange_fingerprints(&["a"], "fingerprint", &size);
    place
}

#[test]
fn tampered_messages_are_refused_with_the_reason() {
    let place = place();
    let folder = place.path("fingerprint/a");
    let (facts, tensors) = (folder.join("message.json"), folder.join("tensors.safetensors"));
    Message::read(&folder, None).unwrap();
    let text = std::fs::read_to_string(&facts).unwrap();
    let numbers = std::fs::read(&tensors).unwrap();
    let with = |key: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        document[key] = value;
        document.to_string()
    };
    for (changed, why) in [
        (text.replace("\"cases\": 1", "\"cases\": 2"), "the seal does not fit"),
        (with("sender", "server".into()), "the seal does not fit"),
        (with("protocol", "other 1".into()), "found protocol \"other 1\""),
        (with("more", 1.into()), "unknown field `more`"),
        (with("tensors", Value::Null), "the seal does not fit"),
        ("not JSON".to_owned(), "not a message of this program"),
    ] {
        assert_ne!(changed, text);
        std::fs::write(&facts, changed).unwrap();
        let error = refused(&folder, None);
        assert!(error.contains("message refused") && error.contains(why), "{error}");
    }
    std::fs::write(&facts, &text).unwrap();

    let mut other = numbers.clone();
    *other.last_mut().unwrap() ^= 1;
    for (bytes, why) in [
        (other, "has SHA-256"),
        (numbers[..numbers.len() - 4].to_vec(), "expected"),
        (b"\x80\x04.".to_vec(), "has 3 bytes"),
    ] {
        std::fs::write(&tensors, bytes).unwrap();
        let error = refused(&folder, None);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn with_a_key_only_its_holders_can_write_messages() {
    let place = Place::new();
    place.write_dataset("a", 0..1);
    let settings = place.settings(&["a"], "rounds = 1");
    let key = |name: &str, bytes: &[u8]| {
        let path = place.path(name);
        std::fs::write(&path, bytes).unwrap();
        Key::read(&path)
    };
    let error = key("short", b"secret").unwrap_err().to_string();
    assert!(error.contains("6 bytes are too few"), "{error}");
    let (ours, theirs) = (key("ours", &[1; 32]).unwrap(), key("theirs", &[2; 32]).unwrap());
    let (project, cancel) = (place.project("a"), Cancel::new());
    let site = Site {
        project: &project,
        name: "a".to_owned(),
        dataset: DatasetName::new(NAME).unwrap(),
        key: Some(ours.clone()),
        agreed: None,
    };
    let folder = place.path("size/a");
    site.fingerprint(&settings, &folder, Ctx::new(&Silent, &cancel)).unwrap();
    Message::read(&folder, Some(&ours)).unwrap();
    assert!(refused(&folder, Some(&theirs)).contains("another key"));
    assert!(refused(&folder, None).contains("sealed with a key"));
}

#[test]
fn other_settings_sites_and_steps_are_refused() {
    let place = place();
    let size = place.path("size_merged");
    let agreed = Settings { rounds: 2, ..Settings::read(&place.path("federation.toml")).unwrap() };
    let (project, cancel) = (place.project("a"), Cancel::new());
    let ctx = Ctx::new(&Silent, &cancel);
    let mut site = Site {
        project: &project,
        name: "a".to_owned(),
        dataset: DatasetName::new(NAME).unwrap(),
        key: None,
        agreed: Some(agreed),
    };
    let error = site.fingerprint(&size, &place.path("x"), ctx).unwrap_err().to_string();
    assert!(error.contains("are not those that this site has agreed to"), "{error}");
    site.agreed = None;
    site.name = "c".to_owned();
    let error = site.fingerprint(&size, &place.path("x"), ctx).unwrap_err().to_string();
    assert!(error.contains("site \"c\" is not in the federation; its sites are a"), "{error}");
    site.name = "a".to_owned();
    let error = site.plan(&size, &place.path("x"), ctx).unwrap_err().to_string();
    assert!(error.contains("found the size of all datasets, expected the merged fingerprint"), "{error}");
    let error = site.round(&size, &place.path("x"), ctx).unwrap_err().to_string();
    assert!(error.contains("expected the plans of all sites, or weights of a round before 1"), "{error}");
    let error = site.validate(&place.path("federation.toml"), &place.path("x"), ctx).unwrap_err().to_string();
    assert!(error.contains("found the settings, expected weights of all sites"), "{error}");
    assert!(!place.path("x").exists());
}

#[test]
fn a_message_replaces_nothing_but_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    check_output(&at("new")).unwrap();
    std::fs::write(at("file"), "precious").unwrap();
    std::fs::create_dir(at("message")).unwrap();
    check_output(&at("message")).unwrap();
    std::fs::write(at("message/message.json"), "{}").unwrap();
    check_output(&at("message")).unwrap();
    std::fs::write(at("message/mine.txt"), "precious").unwrap();
    for (name, found) in [("file", "found a file, expected"), ("message", "found mine.txt, expected")] {
        let error = check_output(&at(name)).unwrap_err().to_string();
        assert!(error.contains(found), "{error}");
    }
}
