//! A federation of processes: rounds, a site that is killed and comes back, and the words of errors.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{DATASET, Place, text};
use nnunet_testkit::phantom::PhantomDataset;
use serde_json::Value;

const SIMULATE: &str = "federated simulate federation.toml study -d 7 --at-once 2 --threads 2";

/// Ten cases for two sites.
fn place(more: &str) -> Place {
    let place = Place::new();
    PhantomDataset { cases: 10, ..Default::default() }.write(&place.path("raw"), DATASET);
    write_settings(&place, more);
    place
}

fn write_settings(place: &Place, more: &str) {
    let text =
        format!("name = \"balls\"\nsites = [\"a\", \"b\"]\niterations_per_epoch = 1\nbatch_size = 2\n{more}");
    std::fs::write(place.path("federation.toml"), text).unwrap();
}

fn rounds(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.path("study/rounds.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Kills the process of site b that trains the round `round`.
#[cfg(target_os = "linux")]
fn kill_in_round(folder: std::path::PathBuf, round: usize) {
    let wanted = folder.join(format!("exchange/round_{round:03}/b")).display().to_string();
    loop {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let id = process.file_name().into_string().unwrap();
            let Ok(words) = std::fs::read_to_string(process.path().join("cmdline")) else { continue };
            if words.split('\0').nth(4) == Some(&wanted) && id.parse::<u32>().is_ok() {
                std::process::Command::new("kill").args(["-KILL", &id]).status().unwrap();
                return;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_site_is_left_out_of_its_round_and_comes_back_in_the_next() {
    let place = place("rounds = 3\nmin_sites = 1\nfingerprint = \"private\"\n");
    let folder = place.path("study");
    let killer = std::thread::spawn(move || kill_in_round(folder, 2));
    let output = place.run(SIMULATE);
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    killer.join().unwrap();
    assert!(said.contains("round 2: site b is left out, its process ended with signal: 9"), "{said}");
    let table: Vec<&str> = out.lines().filter(|line| line.contains('\t')).collect();
    assert_eq!(table.len(), 4, "{out}");
    let rounds = rounds(&place);
    let sites = |round: usize| rounds[round]["sites"].as_object().unwrap().len();
    assert_eq!([0, 1, 2, 3].map(sites), [2, 2, 1, 2]);
    assert_eq!(rounds[2]["left_out"][0]["site"], "b");
    // The first site gives the weights of round 0, the other one says what it has.
    let sent = |round: usize, site: &str| rounds[round]["sites"][site]["bytes_sent"].as_u64().unwrap();
    assert!(sent(0, "b") < sent(0, "a") / 10);
    assert_eq!(sent(1, "a") / 1000, sent(1, "b") / 1000);

    // Everything is there: nothing is trained again, and the table is the same.
    let again = place.succeed(SIMULATE);
    assert_eq!(again.lines().filter(|line| line.contains('\t')).collect::<Vec<_>>(), table);
    write_settings(&place, "rounds = 4\nmin_sites = 1\nfingerprint = \"private\"\n");
    let output = place.run(SIMULATE);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("a federation with other settings was simulated here"), "{said}");
}

#[test]
fn wrong_words_are_named() {
    let place = place("rounds = 1\n");
    for (words, expected) in [
        ("federated fly federation.toml out", "found \"fly\", expected fingerprint, merge, plan"),
        ("federated round federation.toml out -d 7", "round needs --site"),
        ("federated round federation.toml out --site a", "round needs -d"),
        ("federated aggregate in out --site a", "--site is of no use to aggregate"),
        ("federated merge in out -d 7", "-d is of no use to merge"),
        ("federated plan federation.toml out --site a -d 7 --at-once 2", "--at-once belongs to simulate"),
    ] {
        let output = place.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains(expected), "{words}: {said}");
    }
    std::fs::write(place.path("federation.toml"), "name = \"x\"\nsites = [\"a\"]\nrounds = 1\nround = 2")
        .unwrap();
    let output = place.run("federated fingerprint federation.toml out --site a -d 7");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("federation.toml: ") && said.contains("unknown field `round`"), "{said}");
}
