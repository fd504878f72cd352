//! `-v`, `-vv`, `--log-file`, and the summary at the end.

use serde_json::Value;

use super::common::text;
use super::place_with_model;

const PREDICT: &str = "predict -i images -o out -d 7 -p tiny -c 3d_fullres -f 0 --disable_tta";

#[test]
fn a_summary_says_time_memory_and_output_unless_progress_is_none() {
    let place = place_with_model();
    let said = text(&place.run(PREDICT).stderr);
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("predict: done in ") && last.ends_with("output in out"), "{said}");
    if cfg!(target_os = "linux") {
        assert!(last.contains(", peak memory "), "{last}");
    }
    let said = text(&place.run(&format!("{PREDICT} --progress none")).stderr);
    assert!(!said.contains("predict: done in"), "{said}");
    // Nothing that takes time: nothing to sum up.
    assert!(!text(&place.run("models").stderr).contains("done in"));
    // What fails has no summary, but an error as its last line.
    let said = text(&place.run("predict -i images -o out -m nowhere").stderr);
    assert!(said.lines().last().unwrap().starts_with("error: "), "{said}");

    let output = place.run(&format!("{PREDICT} --progress json"));
    let records: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = records.last().unwrap();
    assert_eq!((&last["event"], &last["outputs"][0]), (&Value::from("summary"), &Value::from("out")));
    assert!(last["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn verbose_output_has_a_line_per_step_and_twice_verbose_stamps() {
    let place = place_with_model();
    let plain = text(&place.run(&format!("{PREDICT} --progress plain")).stderr);
    let verbose = text(&place.run(&format!("{PREDICT} -v")).stderr);
    assert!(verbose.contains("tiles of [") && !plain.contains("tiles of ["), "{verbose}");
    assert!(verbose.lines().count() > plain.lines().count(), "{verbose}");
    let stamped = text(&place.run(&format!("{PREDICT} -vv")).stderr);
    let lines: Vec<&str> = stamped.lines().collect();
    // The summary is not of a step.
    for line in &lines[..lines.len() - 1] {
        let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let seconds =
            stamp.and_then(|(stamp, _)| stamp.split_once(" s")).map(|(seconds, _)| seconds.parse::<f64>());
        assert!(matches!(seconds, Some(Ok(_))), "{line}");
    }
}

#[test]
fn the_log_file_has_every_event_and_is_appended_to() {
    let place = place_with_model();
    let log = || std::fs::read_to_string(place.path("run.log")).unwrap();
    place.succeed(&format!("{PREDICT} --progress none --log-file run.log"));
    let first = log();
    for words in [
        " begin nnunet predict -i images",
        " started predict",
        " message ",
        " finished ",
        " summary predict: done in",
    ] {
        assert!(first.contains(words), "{words} in {first}");
    }
    // A verb without progress, and one that fails.
    place.succeed("trainers --log-file run.log");
    assert_eq!(place.run("explain -d 99 --log-file run.log").status.code(), Some(1));
    let all = log();
    assert!(all.starts_with(&first), "appended");
    assert!(all.contains(" begin nnunet trainers") && all.contains(" result nnUNetTrainer"), "{all}");
    assert!(all.contains(" end error: dataset \"99\" not found"), "{all}");
    for line in all.lines() {
        let (date, rest) = line.split_at(24);
        assert!(date.starts_with("20") && date.ends_with('Z') && rest.starts_with(' '), "{line}");
    }

    let output = place.run("models --log-file .");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("this log file cannot be written"), "{}", text(&output.stderr));
}
