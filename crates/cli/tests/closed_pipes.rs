//! Whoever reads the output may leave: a closed pipe of results ends a verb quietly, one of remarks changes nothing, and
//! an interruption stops a run and saves its state all the same.
#![cfg(unix)]
// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{DATASET, Place, files_below, text};
use nnunet_checkpoint::Checkpoint;
use nnunet_testkit::model::ball_model;
use nnunet_testkit::phantom::PhantomDataset;

/// Far longer than what is waited for takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the program, the readers of its stdout and stderr gone.
fn start_unread(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    child
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The exit status of a program that was asked to stop.
fn status_of(mut child: Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the program goes on after the signal");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn with_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|file| file.to_string_lossy().ends_with(ending)).collect()
}

/// The folder of a fold that trains for longer than any test, once its training runs.
fn training(place: &Place, results: &str, command: impl FnOnce(Command) -> Command) -> (Child, PathBuf) {
    let words = format!("train 7 3d_fullres 0 -p tiny --epochs 5000 --threads 1 --results {results}");
    let child = start_unread(command(place.program(&words)));
    let fold = place.path(results).join(DATASET).join("nnUNetTrainer_5000epochs__tiny__3d_fullres/fold_0");
    let logged = || with_ending(&fold, ".txt").iter().any(|log| std::fs::metadata(log).unwrap().len() > 0);
    wait_until("the training's log", logged);
    std::thread::sleep(Duration::from_millis(300));
    (child, fold)
}

#[test]
fn a_training_that_nobody_listens_to_saves_its_state_when_it_is_stopped() {
    let place = Place::new();
    place.prepare();
    for (name, style) in [("-INT", "plain"), ("-TERM", "json"), ("-HUP", "bar")] {
        let (child, fold) = training(&place, &format!("res{name}"), |mut command| {
            command.args(["--progress", style]);
            command
        });
        signal(&child, name);
        assert_eq!(status_of(child), Some(130), "{name}");
        Checkpoint::read(&fold.join("checkpoint_latest.pth")).unwrap();
    }
}

/// Output that nobody takes fills the pipe, whose end stays open; a message for each epoch comes to more within seconds.
#[test]
fn a_training_whose_output_nobody_reads_is_stopped_by_one_signal() {
    let place = Place::new();
    place.prepare();
    for (name, style) in [("-INT", "plain"), ("-TERM", "json")] {
        let results = format!("res{name}");
        let words = format!(
            "train 7 3d_fullres 0 -p tiny --epochs 100000 --iterations-per-epoch 1 --batch-size 1 --threads 1 \
             --results {results} --progress {style}"
        );
        let (reader, mut writer) = std::io::pipe().unwrap();
        // As full as a pipe gets where the page size is 4096.
        std::io::Write::write_all(&mut writer, &[b'\n'; 65536 - 4096]).unwrap();
        let mut child =
            place.program(&words).stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        let fold =
            place.path(&results).join(DATASET).join("nnUNetTrainer_100000epochs__tiny__3d_fullres/fold_0");
        // It goes on after the pipe is full: an epoch is 150 bytes and more.
        let epochs = || {
            let log = with_ending(&fold, ".txt").pop().and_then(|log| std::fs::read_to_string(log).ok());
            log.map_or(0, |log| log.matches("Epoch time").count())
        };
        wait_until("the 60th epoch", || epochs() >= 60);
        assert!(child.try_wait().unwrap().is_none());
        let begun = Instant::now();
        signal(&child, name);
        assert_eq!(status_of(child), Some(130), "{name}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        Checkpoint::read(&fold.join("checkpoint_latest.pth")).unwrap();
        drop(reader);
    }
}

/// A reader that takes its time gets everything.
#[test]
fn results_wait_for_a_slow_reader() {
    use std::io::Read;

    let place = Place::new();
    place.prepare();
    let expected = place.succeed("explain -d 7").into_bytes();
    let mut child =
        place.program("explain -d 7").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let mut read = Vec::new();
    stdout.read_to_end(&mut read).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(read == expected && !read.is_empty());
}

/// As shells do for `nohup nnunet train ... &` when the connection is lost.
#[cfg(target_os = "linux")]
#[test]
fn nohup_keeps_a_training_alive() {
    let place = Place::new();
    place.prepare();
    let (mut child, fold) = training(&place, "res", |program| {
        let mut nohup = Command::new("nohup");
        nohup.arg(program.get_program()).args(program.get_args()).current_dir(place.folder.path());
        for (key, value) in program.get_envs() {
            nohup.env(key, value.unwrap());
        }
        nohup
    });
    signal(&child, "-HUP");
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "the end of the terminal is ignored");
    signal(&child, "-TERM");
    assert_eq!(status_of(child), Some(130));
    assert!(fold.join("checkpoint_latest.pth").is_file());
}

#[test]
fn a_prediction_that_nobody_listens_to_stops() {
    let place = Place::new();
    let cases = 60;
    for case in 0..cases {
        let name = format!("new_{case:02}");
        PhantomDataset::default().write_case(&place.path("images"), &place.path("labels"), &name, case);
    }
    for (name, style) in [("-INT", "plain"), ("-TERM", "json")] {
        let out = format!("out{name}");
        let words = format!(
            "predict -i images -o {out} -m {} -step_size 0.2 --threads 1 --progress {style}",
            ball_model().display()
        );
        let child = start_unread(place.program(&words));
        wait_until("the first prediction", || !with_ending(&place.path(&out), ".nii.gz").is_empty());
        signal(&child, name);
        assert_eq!(status_of(child), Some(130), "{name}");
        let made = with_ending(&place.path(&out), ".nii.gz").len();
        assert!((1..cases as usize).contains(&made), "{made}");
        assert!(with_ending(&place.path(&out), ".tmp").is_empty());
    }
}

#[test]
fn preprocessing_that_nobody_listens_to_stops() {
    let place = Place::new();
    let cases = 40;
    let data = PhantomDataset { cases, shape: [48, 56, 52], ..PhantomDataset::default() };
    data.write(&place.path("raw"), "Dataset008_Many");
    place.succeed("plan-and-preprocess -d 8 --no_pp");
    let stored = place.path("pre/Dataset008_Many/nnUNetPlans_3d_fullres");
    for (name, style) in [("-INT", "plain"), ("-TERM", "json")] {
        let _ = std::fs::remove_dir_all(&stored);
        let words = format!("preprocess -d 8 -c 3d_fullres -np 1 --progress {style}");
        let child = start_unread(place.program(&words));
        wait_until("the first case", || !with_ending(&stored, ".pkl").is_empty());
        signal(&child, name);
        assert_eq!(status_of(child), Some(130), "{name}");
        let made = with_ending(&stored, ".pkl").len();
        assert!((1..cases).contains(&made), "{made}");
        assert!(with_ending(&stored, ".tmp").is_empty());
    }
}

/// Runs the program with a stdout that the shell's `redirection` makes.
fn redirected(place: &Place, words: &str, redirection: &str) -> Output {
    let program = place.program(words);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}")).arg(program.get_program());
    shell.args(program.get_args()).current_dir(place.folder.path());
    for (key, value) in program.get_envs() {
        shell.env(key, value.unwrap());
    }
    shell.output().unwrap()
}

fn unread(place: &Place, words: &str) -> Output {
    let mut child = place.program(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn results_that_nobody_reads_end_a_verb_quietly() {
    let place = Place::new();
    place.prepare();
    for fold in [0, 1] {
        place.succeed(&format!("train 7 3d_fullres {fold} -p tiny --epochs 1 --iterations-per-epoch 2"));
    }
    let trained = "-c 3d_fullres -p tiny -tr nnUNetTrainer_1epoch";
    let validation = format!("res/{DATASET}/nnUNetTrainer_1epoch__tiny__3d_fullres/fold_0/validation");
    let verbs = [
        "--help".to_owned(),
        "--version".to_owned(),
        "train --help".to_owned(),
        "explain -d 7".to_owned(),
        "models".to_owned(),
        "install-links bin".to_owned(),
        format!("evaluate {validation} {validation} -l 1 2"),
        format!("find-best-configuration 7 {trained} -f 0 1 --disable_ensembling"),
    ];
    for words in &verbs {
        let output = unread(&place, words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error"), "{words}: {said}");
    }
    // What the verb is for was done all the same.
    assert!(place.path(&format!("{validation}/summary.json")).is_file());
    assert!(place.path(&format!("res/{DATASET}/inference_instructions.txt")).is_file());
    // Usage errors stay what they are.
    assert_eq!(unread(&place, "").status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let place = Place::new();
    place.prepare();
    for words in ["--help", "--version", "explain -d 7", "plan -d 7 --progress json"] {
        let output = redirected(&place, words, ">/dev/full");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
    }
    let said = text(&redirected(&place, "explain -d 7", ">/dev/full").stderr);
    assert!(said.contains("error: the results could not be written to stdout: No space left"), "{said}");
}
