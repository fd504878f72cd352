//! Graphs of jobs on this machine, with a shell script in place of the program.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};

use nnunet::Ctx;
use nnunet::submit::{
    Job, JobGraph, LocalOptions, RECORD, Record, SubmitError, Task, TaskState, run_locally,
};
use nnunet_base::progress::{Cancel, Event, Progress};
use nnunet_testkit::warnings::Warnings;

/// A job whose tasks are runs of the shell: each notes its word in `done`, fails where the file `broken` has the word, and
/// stays until it is told to stop the first time its word is `stay`.
fn job(folder: &Path, name: &str, needs: &[usize], words: &[&str]) -> Job {
    let text = format!(
        "cd '{}'; echo \"$0\" >> done; grep -qx \"$0\" broken 2>/dev/null && exit 1; \
         [ \"$0\" = stay ] && [ ! -f stayed ] || exit 0; trap 'exit 130' TERM; touch stayed; \
         while :; do sleep 0.05; done",
        folder.display()
    );
    let task = |word: &&str| Task {
        label: (*word).to_owned(),
        arguments: vec!["-c".to_owned(), text.clone(), (*word).to_owned()],
    };
    Job {
        name: name.to_owned(),
        tasks: words.iter().map(task).collect(),
        needs: needs.to_vec(),
        resumes: true,
    }
}

fn run(
    graph: &JobGraph,
    folder: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Record, SubmitError> {
    let options = LocalOptions { program: "/bin/sh".into(), at_once: 2, threads: 1 };
    run_locally(graph, folder, &options, Ctx::new(progress, cancel))
}

/// What the program was asked for since the last question, in order.
fn asked(folder: &Path) -> Vec<String> {
    let path = folder.join("done");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(&path);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_failure_stops_what_needs_it_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let graph = JobGraph {
        jobs: vec![
            job(folder, "first", &[], &["a"]),
            job(folder, "second", &[0], &["b", "c"]),
            job(folder, "other", &[0], &["d"]),
            job(folder, "last", &[1, 2], &["e"]),
        ],
    };
    fs::write(folder.join("broken"), "c\n").unwrap();
    let warnings = Warnings::default();
    let error = run(&graph, folder, &warnings, &Cancel::new()).unwrap_err();
    let SubmitError::TasksFailed { failed: 1, left_out: 1, all: 5, first, log } = &error else {
        panic!("{error}")
    };
    assert_eq!((first.as_str(), log.ends_with("logs/second_1.log")), ("second, c", true));
    assert_eq!(warnings.said().len(), 1);
    let mut found = asked(folder);
    assert_eq!(found.remove(0), "a", "the others need it");
    found.sort();
    assert_eq!(found, ["b", "c", "d"], "what needs c is left out, what does not is done");

    fs::remove_file(folder.join("broken")).unwrap();
    let record = run(&graph, folder, &warnings, &Cancel::new()).unwrap();
    assert_eq!(asked(folder), ["c", "e"]);
    assert!(record.jobs.iter().flat_map(|job| &job.tasks).all(|(_, _, state)| *state == TaskState::Done));
    assert_eq!(Record::load(folder).unwrap(), Some(record));

    // What has other arguments is done again, and with it what needs it.
    let mut changed = graph.clone();
    changed.jobs[2] = job(folder, "other", &[0], &["d again"]);
    run(&changed, folder, &warnings, &Cancel::new()).unwrap();
    assert_eq!(asked(folder), ["d again", "e"]);

    fs::write(folder.join(RECORD), "{}").unwrap();
    let error = run(&graph, folder, &warnings, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("submit.json: not a record of jobs"), "{error}");
}

/// Asks to stop once the program has begun to stay.
struct Stops<'a>(&'a Cancel, PathBuf);

impl Progress for Stops<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Message(text) = event
            && text.starts_with("stays, stay: started")
        {
            while !self.1.join("stayed").is_file() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            self.0.cancel();
        }
    }
}

#[test]
fn an_interruption_lets_tasks_save_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let graph =
        JobGraph { jobs: vec![job(folder, "stays", &[], &["stay"]), job(folder, "after", &[0], &["end"])] };
    let cancel = Cancel::new();
    let error = run(&graph, folder, &Stops(&cancel, folder.to_owned()), &cancel).unwrap_err();
    assert!(matches!(error, SubmitError::Interrupted { done: 0, all: 2, .. }), "{error}");
    assert_eq!(asked(folder), ["stay"]);
    run(&graph, folder, &Warnings::default(), &Cancel::new()).unwrap();
    assert_eq!(asked(folder), ["stay", "end"]);
}
