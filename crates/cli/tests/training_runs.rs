//! Trainings that meet each other, come again, are stopped, or do not fit the machine.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{DATASET, Place, text};
use nnunet_checkpoint::Checkpoint;
use nnunet_testkit::phantom::{PhantomDataset, PhantomLabels};
use serde_json::{Value, json};

const TRAIN: &str = "train 7 3d_fullres 0 -p tiny --threads 1";

fn fold(place: &Place, trainer: &str) -> PathBuf {
    place.path("res").join(DATASET).join(format!("{trainer}__tiny__3d_fullres/fold_0"))
}

/// Starts a training that does not end by itself, and waits for its iteration `iteration`.
fn endless(place: &Place, words: &str, iteration: u64) -> Child {
    long(place, &format!("{words} --iterations-per-epoch 1000000"), iteration)
}

/// Starts a training that takes a while, and waits for its iteration `iteration`.
fn long(place: &Place, words: &str, iteration: u64) -> Child {
    let words = format!("{TRAIN} {words} --progress json");
    let mut child = place.program(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let mut lines = BufReader::new(output).lines();
    loop {
        let Some(line) = lines.next() else {
            panic!("ended early: {}", text(&child.wait_with_output().unwrap().stderr))
        };
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if record["event"] == "advanced" && record["done"].as_u64() >= Some(iteration) {
            break;
        }
    }
    // Somebody has to go on reading.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// Interrupts a training and returns what it said.
fn interrupt(child: Child) -> String {
    stop(child, &["-INT"])
}

/// Sends signals to a training and returns what it said.
fn stop(child: Child, signals: &[&str]) -> String {
    for signal in signals {
        let kill = std::process::Command::new("kill").args([signal, &*child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// What a run says that fails with `code`.
fn refused(place: &Place, words: &str, code: i32) -> String {
    let output = place.run(words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}: {said}");
    said
}

#[test]
fn a_fold_is_trained_by_one_run_at_a_time_and_its_cases_stay() {
    let place = Place::new();
    place.prepare();
    let mut first = endless(&place, "--epochs 2", 1);
    let said = refused(&place, &format!("{TRAIN} --epochs 2"), 1);
    let (folder, holder) = (fold(&place, "nnUNetTrainer_2epochs"), format!("process {}", first.id()));
    assert!(said.contains(&format!("{}: in use by a training", folder.display())), "{said}");
    assert!(said.contains(&holder) && said.contains("fold 0"), "{said}");
    // Another trainer reads the same cases.
    place.succeed(&format!("{TRAIN} --epochs 1 --iterations-per-epoch 1"));

    // Finished cases need no work; others would be replaced below the training.
    place.succeed("preprocess -d 7 -c 3d_fullres");
    let cases = place.path("pre").join(DATASET).join("nnUNetPlans_3d_fullres");
    std::fs::remove_file(cases.join("made_from/ball_000.json")).unwrap();
    let said = refused(&place, "preprocess -d 7 -c 3d_fullres", 1);
    assert!(said.contains(&format!("{}: in use by", cases.display())) && said.contains(&holder), "{said}");
    assert!(cases.join("ball_000.pkl").is_file());

    // Nothing stays behind of a run that is killed.
    first.kill().unwrap();
    first.wait().unwrap();
    place.succeed("preprocess -d 7 -c 3d_fullres");
    place.succeed(&format!("{TRAIN} --epochs 2 --iterations-per-epoch 1"));
    let listed: Vec<String> = std::fs::read_dir(&cases)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("lock"))
        .collect();
    assert!(listed.is_empty(), "Python looks at all files there: {listed:?}");
}

#[test]
fn a_fold_that_is_trained_again_goes_on_where_the_new_training_stopped() {
    let place = Place::new();
    place.prepare();
    let once = format!("{TRAIN} --epochs 2 --iterations-per-epoch 2");
    place.succeed(&format!("{once} --seed 1"));
    let folder = fold(&place, "nnUNetTrainer_2epochs");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let old = read("checkpoint_final.pth");

    // Killed before it saved anything: the old training is whole, and is not taken for the new one.
    let mut child = endless(&place, "--epochs 2 --seed 2", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(read("checkpoint_final.pth") == old);
    let output = place.run(&format!("{once} --seed 2 --c"));
    let said = text(&output.stderr) + &text(&output.stdout);
    assert!(
        output.status.success() && said.contains("has saved nothing, starting from the beginning"),
        "{said}"
    );
    assert!(!said.contains("all epochs are done already"), "{said}");
    assert!(read("checkpoint_final.pth") != old);
    assert!(!folder.join("checkpoint_final_previous.pth").exists());

    let (old, old_best) = (read("checkpoint_final.pth"), read("checkpoint_best.pth"));
    let many = "--epochs 2 --seed 3 --iterations-per-epoch 100";
    let said = interrupt(long(&place, many, 3));
    assert!(said.contains("the state is saved in") && said.contains("checkpoint_latest.pth"), "{said}");
    assert!(read("checkpoint_final_previous.pth") == old, "complete trainings are kept until the next is");
    assert!(read("checkpoint_best_previous.pth") == old_best, "with their best state");
    assert!(!folder.join("checkpoint_final.pth").exists());
    // What changes a training makes it another one.
    let latest = std::fs::read(folder.join("checkpoint_latest.pth")).unwrap();
    for (words, difference) in [
        ("--epochs 2 --iterations-per-epoch 4", "iterations_per_epoch was 100, is 4"),
        ("--epochs 2 --iterations-per-epoch 100 --batch-size 3", "batch_size was not set, is 3"),
    ] {
        let said = refused(&place, &format!("{TRAIN} {words} --seed 3 --c"), 1);
        assert!(said.contains("checkpoint_latest.pth: ") && said.contains(difference), "{words}: {said}");
    }
    assert!(std::fs::read(folder.join("checkpoint_latest.pth")).unwrap() == latest);
    let output = place.run(&format!("{TRAIN} {many} --save-every 1 --c"));
    let said = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.success() && said.contains("checkpoint_latest.pth, epoch 0"), "{said}");
    assert_eq!(Checkpoint::read(&folder.join("checkpoint_final.pth")).unwrap().current_epoch, 2);
}

#[test]
fn a_scheduler_that_signals_more_than_once_has_the_state_saved() {
    let place = Place::new();
    place.prepare();
    for signals in [&["-USR1"][..], &["-TERM", "-TERM"], &["-USR1", "-TERM"]] {
        let said = stop(endless(&place, "--epochs 2", 2), signals);
        assert!(said.contains("the state is saved in") && !said.contains("stopped at once"), "{said}");
    }
}

/// The members of a checkpoint, with the times of the epochs set to 0: they alone tell two equal trainings apart.
fn without_times(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut members: Vec<(String, Vec<u8>)> = (0..zip.len())
        .map(|i| {
            let mut member = zip.by_index(i).unwrap();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            (member.name().unwrap().into_owned(), bytes)
        })
        .collect();
    let logging = Checkpoint::read(path).unwrap().logging;
    let pickle = &mut members.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1;
    for key in ["epoch_start_timestamps", "epoch_end_timestamps"] {
        for time in logging.get(key).unwrap().as_f64s().unwrap() {
            let at = pickle.windows(8).position(|bytes| bytes == time.to_be_bytes()).unwrap();
            pickle[at..at + 8].fill(0);
        }
    }
    members
}

/// Kills a training `kills` times in each of `chains` results folders, resumes it each time, and compares what is left with
/// what an undisturbed one leaves.
fn kill_and_resume(chains: usize, kills: usize) {
    let place = Place::new();
    place.prepare();
    let words = "--epochs 3 --iterations-per-epoch 12";
    // After every step, after every epoch, or when an epoch is the best. The flags are part of the checkpoint.
    let saves = &["--save-minutes 0.00001", "--save-every 1", ""][..chains.min(3)];
    let started = Instant::now();
    for (number, saves) in saves.iter().enumerate() {
        place.succeed(&format!("{TRAIN} {words} {saves} --results undisturbed_{number}"));
    }
    let seconds = started.elapsed().as_secs_f64() / saves.len() as f64;
    let folder = |results: &str| {
        let model = format!("{results}/{DATASET}/nnUNetTrainer_3epochs__tiny__3d_fullres/fold_0");
        place.path(&model)
    };
    let (mut moment, mut killed) = (0.0, 0);
    for chain in 0..chains {
        let results = format!("killed_{chain}");
        let kind = chain % saves.len();
        let train = format!("{TRAIN} {words} {} --results {results}", saves[kind]);
        for kill in 0..kills {
            let resumed = if kill == 0 { "" } else { "--c" };
            let mut child = place.program(&format!("{train} {resumed}"));
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Multiples of the golden ratio are spread evenly over the run. What is left after a kill takes less time.
            moment = (moment + 0.618_034) % 1.0;
            let share = if kill == 0 { 0.9 } else { 0.3 };
            std::thread::sleep(Duration::from_secs_f64(moment * share * seconds));
            killed += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        place.succeed(&format!("{train} --c"));
        let (expected, found) = (folder(&format!("undisturbed_{kind}")), folder(&results));
        for file in ["checkpoint_final.pth", "checkpoint_best.pth"] {
            let same = without_times(&expected.join(file)) == without_times(&found.join(file));
            assert!(same, "chain {chain}: {file} differs");
        }
        let left = std::fs::read_dir(&found).unwrap().map(|entry| entry.unwrap().file_name());
        let unfinished: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
        let summary = |fold: &Path| {
            let text = std::fs::read(fold.join("validation/summary.json")).unwrap();
            let summary: Value = serde_json::from_slice(&text).unwrap();
            summary["foreground_mean"].clone()
        };
        assert_eq!(summary(&expected), summary(&found));
    }
    assert!(
        killed * 2 > chains * kills,
        "{killed} of {} runs were alive when they were killed",
        chains * kills
    );
}

#[test]
fn a_training_killed_at_any_moment_ends_like_an_undisturbed_one() {
    kill_and_resume(2, 3);
}

/// The same with 30 moments; takes minutes: `cargo test -p nnunet-cli --test training_runs -- --ignored killed_at_thirty`.
#[test]
#[ignore = "takes minutes"]
fn a_training_killed_at_thirty_moments_ends_like_an_undisturbed_one() {
    kill_and_resume(10, 3);
}

#[test]
fn what_is_not_saved_is_not_said_to_be() {
    let place = Place::new();
    place.prepare();
    let said = interrupt(endless(&place, "--epochs 2 --disable_checkpointing", 3));
    assert!(said.contains("no state was saved") && !said.contains("--c"), "{said}");
    let folder = fold(&place, "nnUNetTrainer_2epochs");
    assert!(!folder.join("checkpoint_latest.pth").exists());

    for (words, why) in [
        ("--val_best --disable_checkpointing", "there would be no best checkpoint"),
        ("--val --val_best --disable_checkpointing", "there would be no best checkpoint"),
        ("--c --val", "exclude each other"),
        ("--val -pretrained_weights x.pth", "exclude each other"),
    ] {
        let said = refused(&place, &format!("{TRAIN} {words}"), 2);
        assert!(said.contains(why), "{words}: {said}");
    }
    for (words, file) in [("--val", "checkpoint_final.pth"), ("--val --val_best", "checkpoint_best.pth")] {
        let said = refused(&place, &format!("{TRAIN} --epochs 2 {words}"), 1);
        assert!(
            said.contains(&format!("{file}: no such checkpoint; validation needs it")),
            "{words}: {said}"
        );
    }
}

#[test]
fn a_patch_that_no_machine_can_hold_is_refused_before_anything_is_begun() {
    let place = Place::new();
    place.prepare();
    let words = "--epochs 1 --iterations-per-epoch 1";
    place.succeed(&format!("{TRAIN} {words}"));
    let model = fold(&place, "nnUNetTrainer_1epoch").parent().unwrap().to_owned();
    let plans: Value = serde_json::from_slice(&std::fs::read(model.join("plans.json")).unwrap()).unwrap();
    // A comma or a digit too many, up to what does not fit into any number.
    for patch in [
        json!([16, 16000, 16000]),
        json!([16_000_000, 16_000_000, 16]),
        json!([4e9 as u64, 4e9 as u64, 4e9 as u64]),
    ] {
        place.write_plans("typo", |plans| {
            plans["configurations"]["3d_fullres"]["patch_size"] = patch.clone();
        });
        let said = refused(&place, &format!("train 7 3d_fullres 0 -p typo --threads 1 {words}"), 1);
        assert!(said.contains("patch_size") && !said.contains("panic"), "{patch}: {said}");
        let mut changed = plans.clone();
        changed["configurations"]["3d_fullres"]["patch_size"] = patch.clone();
        std::fs::write(model.join("plans.json"), changed.to_string()).unwrap();
        let images = place.path("raw").join(DATASET).join("imagesTr");
        let predict = format!("predict -i {} -o out -m {} --disable_tta", images.display(), model.display());
        let said = refused(&place, &predict, 1);
        assert!(said.contains("patch_size") && !said.contains("panic"), "{patch}: {said}");
        assert!(!place.path("out/ball_000.nii.gz").exists());
    }
    let said = refused(&place, &format!("{TRAIN} {words} --batch-size 1000000"), 1);
    assert!(
        said.contains("more memory than the") && said.contains("1000000 patches of 16 x 16 x 16"),
        "{said}"
    );
    let said = refused(&place, &format!("{TRAIN} {words} --max-ram 0.001"), 1);
    assert!(said.contains("more memory than the limit of 1 MB: a training step on 2 patches"), "{said}");
    place.succeed(&format!("{TRAIN} {words} --max-ram 4"));
}

#[test]
fn a_validation_names_the_cases_that_fail_and_does_the_others() {
    let place = Place::new();
    place.prepare();
    let words = "--epochs 1 --iterations-per-epoch 1";
    let train = TRAIN.replace(" 0 ", " all ");
    place.succeed(&format!("{train} {words}"));
    let validation = fold(&place, "nnUNetTrainer_1epoch").with_file_name("fold_all").join("validation");
    let mut predicted: Vec<PathBuf> = std::fs::read_dir(&validation)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".nii.gz"))
        .collect();
    predicted.sort();
    assert!(predicted.len() > 1, "{predicted:?}");
    std::fs::remove_dir_all(&validation).unwrap();
    let damaged = predicted[0].file_name().unwrap().to_string_lossy().replace(".nii.gz", "");
    let cases = place.path("pre").join(DATASET).join("nnUNetPlans_3d_fullres");
    std::fs::write(cases.join(format!("{damaged}.b2nd")), "no array").unwrap();
    let said = refused(&place, &format!("{train} {words} --val"), 1);
    let total = predicted.len();
    assert!(said.contains(&format!("1 of {total} validation cases failed")), "{said}");
    assert!(said.contains(&format!("case {damaged}: ")) && said.contains(".b2nd"), "{said}");
    assert!(!predicted[0].exists() && predicted[1].is_file());
}

#[test]
fn a_state_that_cannot_be_saved_leaves_the_one_before() {
    let place = Place::new();
    place.prepare();
    let many = "--epochs 9 --iterations-per-epoch 40";
    interrupt(long(&place, many, 3));
    let latest = fold(&place, "nnUNetTrainer_9epochs").join("checkpoint_latest.pth");
    let before = std::fs::read(&latest).unwrap();
    // No file may become larger than 64 KiB, and what exceeds it fails instead of ending the process.
    assert!(before.len() > 1 << 16, "{}", before.len());
    let words = format!("{TRAIN} {many} --save-every 1 --c");
    let program = place.program(&words);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]).arg(program.get_program());
    shell.args(program.get_args()).current_dir(place.folder.path());
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("checkpoint_latest.pth") && said.contains("File too large"), "{said}");
    assert!(!said.contains("ZipWriter"), "no library speaks for itself: {said}");
    assert!(said.contains(&format!("unharmed in {}", latest.display())), "{said}");
    assert!(std::fs::read(&latest).unwrap() == before);
    place.succeed(&format!("{TRAIN} {many} --c"));
}

#[test]
fn a_recipe_of_ones_own_is_trained_and_predicted_with() {
    let place = Place::new();
    place.prepare();
    let recipe = "base = \"nnUNetTrainerBN_20epochs\"\nepochs = 1\niterations_per_epoch = 2\nvalidation_iterations = 1\n\
                  validated_checkpoint = \"best\"\n[[parameter_groups]]\nprefixes = [\"encoder\"]\nrate_factor = 0.0\n";
    std::fs::write(place.path("my_recipe.toml"), recipe).unwrap();
    let train = format!("{TRAIN} -tr my_recipe.toml");
    place.succeed(&train);
    let folder = fold(&place, "my_recipe");
    let written = std::fs::read_to_string(folder.join("recipe.toml")).unwrap();
    assert!(
        written.contains("iterations_per_epoch = 2\n") && written.contains("norm = \"batch\""),
        "{written}"
    );
    let checkpoint = Checkpoint::read(&folder.join("checkpoint_best.pth")).unwrap();
    assert_eq!(checkpoint.trainer_name, "nnUNetTrainerBN");
    assert_eq!(checkpoint.other.get("nnunet_recipe").unwrap().as_str(), Some(&*written));
    assert!(checkpoint.weights.tensors().any(|(name, _)| name.ends_with("running_mean")));
    let momentum = checkpoint.optimiser.unwrap().state.parameters;
    let names = checkpoint.weights.tensors().map(|(name, _)| name);
    let learned = names.filter(|name| !name.contains("running_") && !name.contains("num_batches"));
    for (name, state) in learned.zip(momentum) {
        assert!(state.is_none() || !name.starts_with("encoder"), "{name} is frozen");
    }
    let plans: Value =
        serde_json::from_slice(&std::fs::read(folder.with_file_name("plans.json")).unwrap()).unwrap();
    let norm = &plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["norm_op"];
    assert_eq!(norm, "torch.nn.modules.batchnorm.BatchNorm3d", "Python builds what the plans say");

    let images = place.path("raw").join(DATASET).join("imagesTr");
    let predict = "-d 7 -c 3d_fullres -p tiny -tr my_recipe -f 0 --disable_tta -chk checkpoint_best.pth";
    place.succeed(&format!("predict -i {} -o out {predict}", images.display()));
    assert!(place.path("out/ball_000.nii.gz").is_file());

    // To go on, and for other folds, the copy beside the results will do.
    std::fs::remove_file(place.path("my_recipe.toml")).unwrap();
    place.succeed(&format!("{TRAIN} -tr my_recipe --c"));
    place.succeed(&TRAIN.replace(" 0 ", " 1 ").replace("train", "train -tr my_recipe"));
    let again = std::fs::read_to_string(folder.with_file_name("fold_1").join("recipe.toml")).unwrap();
    assert_eq!(again, written);
    let said = refused(&place, &format!("{TRAIN} -tr my_recipes"), 1);
    assert!(said.contains("trainer \"my_recipes\" is not known"), "{said}");
    std::fs::write(place.path("my_recipe.toml"), recipe).unwrap();

    // What is written is the recipe in full, and a recipe itself.
    std::fs::write(place.path("full.toml"), &written).unwrap();
    assert_eq!(place.succeed("trainers full.toml").trim_end(), written.trim_end());
    assert!(written.contains("kind = \"gaussian_noise\"\nprobability = 0.1\n"), "{written}");
    let short = place.succeed("trainers my_recipe.toml");
    assert!(short.contains("norm = \"batch\"") && !short.contains("gaussian_noise"), "{short}");
    assert!(place.succeed("trainers nnUNetTrainerBN").contains("norm = \"batch\""));
    let listed = place.succeed("trainers");
    let line = listed.lines().find(|line| line.starts_with("nnUNetTrainerBN ")).unwrap();
    assert!(line.ends_with("  batch norm instead of instance norm"), "{line}");

    std::fs::write(place.path("wrong.toml"), "base = \"nnUNetTrainer\"\nlos = \"ce\"\n").unwrap();
    let said = refused(&place, &format!("{TRAIN} -tr wrong.toml"), 1);
    assert!(said.contains("wrong.toml: recipe: there is no option \"los\" (did you mean loss?)"), "{said}");
    std::fs::write(place.path("wrong.toml"), "loss = \"dice_cf\"\n").unwrap();
    let said = refused(&place, &format!("{TRAIN} -tr wrong.toml"), 1);
    assert!(said.contains("loss \"dice_cf\" is not known (did you mean dice_ce?)"), "{said}");
}

#[test]
fn epochs_are_recorded_for_other_programs_once_each() {
    let place = Place::new();
    place.prepare();
    let train = format!("{TRAIN} --epochs 3 --iterations-per-epoch 2 --log tensorboard,jsonl --save-every 1");
    place.succeed(&train);
    let folder = fold(&place, "nnUNetTrainer_3epochs");
    let epochs = || -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join("epochs.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = epochs();
    assert_eq!(
        first.iter().map(|epoch| epoch["epoch"].as_u64()).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
    let events = folder.join("tensorboard/events.out.tfevents");
    let size = std::fs::metadata(&events).unwrap().len();
    // The training of before is complete: what goes on from its end adds nothing.
    place.succeed(&format!("{train} --c"));
    assert_eq!((epochs(), std::fs::metadata(&events).unwrap().len()), (first, size));
    let said = refused(&place, &format!("{TRAIN} --log tensorbord"), 2);
    assert!(said.contains("\"tensorbord\"") && said.contains("did you mean tensorboard?"), "{said}");

    let output = place
        .program(&format!("{TRAIN} --epochs 1 --iterations-per-epoch 1"))
        .envs([("nnUNet_wandb_enabled", "1"), ("nnUNet_n_proc_DA", "2")])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("wandb sync"), "{said}");
    assert!(fold(&place, "nnUNetTrainer_1epoch").join("tensorboard/events.out.tfevents").is_file());
    let mut program = place.program(&format!("{TRAIN} --epochs 1"));
    let output = program.env("nnUNet_n_proc_DA", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("environment variable nnUNet_n_proc_DA: found \"many\""));
}

#[test]
fn benchmarks_leave_times_and_nothing_else() {
    let place = Place::new();
    place.prepare();
    for trainer in ["nnUNetTrainerBenchmark_5epochs", "nnUNetTrainerBenchmark_5epochs_noDataLoading"] {
        place.succeed(&format!("{TRAIN} -tr {trainer} --iterations-per-epoch 1"));
        let folder = fold(&place, trainer);
        let results: Value =
            serde_json::from_slice(&std::fs::read(folder.join("benchmark_result.json")).unwrap()).unwrap();
        let results: Vec<&Value> = results.as_object().unwrap().values().collect();
        assert_eq!(results.len(), 1, "{results:?}");
        assert!(results[0]["fastest_epoch"].as_f64().unwrap() > 0.0 && results[0]["device"] == "cpu");
        assert!(!folder.join("checkpoint_final.pth").exists() && !folder.join("validation").exists());
        // A second run on the same machine replaces its entry.
        if trainer.ends_with("noDataLoading") {
            place.succeed(&format!("{TRAIN} -tr {trainer} --iterations-per-epoch 1"));
            let text = std::fs::read_to_string(folder.join("benchmark_result.json")).unwrap();
            assert_eq!(text.matches("fastest_epoch").count(), 1, "{text}");
        }
    }
    let said = refused(&place, "train 7 3d_fullres 1 -p tiny -tr nnUNetTrainerBenchmark_5epochs", 1);
    assert!(said.contains("fold 1: benchmarks are trained on fold 0 only"), "{said}");
}

/// Everything below the folder of results, and the locks of the cases.
fn traces(place: &Place) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![place.path("res"), place.path("pre").join(DATASET)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.starts_with(place.path("res")) {
                folders.push(path.clone());
            }
            // The folds are the dataset's, whoever makes them.
            if !path.ends_with("splits_final.json") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_training_that_cannot_start_leaves_nothing_behind() {
    let place = Place::new();
    place.prepare();
    let before = traces(&place);
    // Too much memory, no cases, no such checkpoint.
    refused(&place, &format!("{TRAIN} --epochs 2 --max-ram 0.001"), 1);
    refused(&place, "train 7 2d 0 --epochs 2", 1);
    refused(&place, &format!("{TRAIN} --epochs 2 --val"), 1);
    refused(&place, &format!("{TRAIN} --epochs 2 -pretrained_weights nowhere.pth"), 1);
    assert_eq!(traces(&place), before);
    // Also a folder of an earlier version's failed start is no model.
    std::fs::create_dir_all(fold(&place, "nnUNetTrainer_2epochs")).unwrap();
    std::fs::write(fold(&place, "nnUNetTrainer_2epochs").join(".training.lock"), "").unwrap();
    let said = text(&place.run("models").stderr);
    assert!(!said.contains("warning") && said.contains("no models in"), "{said}");
}

#[test]
fn plans_in_use_are_not_replaced() {
    let place = Place::new();
    place.prepare();
    let file = place.path("pre").join(DATASET).join("nnUNetPlans.json");
    let plans = std::fs::read(&file).unwrap();
    // Its network is tiny, its cases are those of nnUNetPlans.
    let mut training = endless(&place, "--epochs 2", 1);
    place.succeed("plan -d 7");
    assert!(std::fs::read(&file).unwrap() == plans, "the same plans change nothing");
    for verb in ["plan", "plan-and-preprocess"] {
        let said = refused(
            &place,
            &format!("{verb} -d 7 -overwrite_target_spacing 3 3 3 -overwrite_plans_name nnUNetPlans"),
            1,
        );
        assert!(said.contains("in use by a training") && said.contains("-overwrite_plans_name"), "{said}");
        assert!(std::fs::read(&file).unwrap() == plans);
    }
    place.succeed("plan -d 7 -overwrite_target_spacing 3 3 3 -overwrite_plans_name other");
    training.kill().unwrap();
    training.wait().unwrap();
    place.succeed("plan -d 7 -overwrite_target_spacing 3 3 3 -overwrite_plans_name nnUNetPlans");
    assert!(std::fs::read(&file).unwrap() != plans);
}

#[test]
fn recipes_that_contradict_the_plans_or_the_data_are_refused_with_a_reason() {
    let place = Place::new();
    place.prepare();
    for (recipe, reason) in [
        ("loss = \"bce\"", "loss bce is a loss of regions, but the dataset has plain labels"),
        ("loss = { kind = \"dice_ce\", gamma = 2 }", "loss dice_ce: there is no option \"gamma\""),
        ("optimiser = \"adamv\"", "optimiser \"adamv\" is not known (did you mean adam?)"),
        ("schedule = \"cosin\"", "schedule \"cosin\" is not known (did you mean cosine?)"),
        (
            "augmentation = { kind = \"default\", mirroring = [0, 3] }",
            "mirroring along axis 3: the patch has axes 0 to 2",
        ),
        (
            "augmentation = { kind = \"default\", transforms = [{ kind = \"gama\" }] }",
            "transform \"gama\" is not known (did you mean gamma?)",
        ),
        ("deep_supervision_weights = [1.0, 0.5]", "deep_supervision_weights [1.0, 0.5], expected 1 numbers"),
        ("[[parameter_groups]]\nprefixes = [\"encodr\"]\nrate_factor = 0.5", "(did you mean encoder?)"),
        ("[fine_tuning]\nfrozen = [\"decodr\"]", "(did you mean decoder?)"),
    ] {
        std::fs::write(place.path("wrong.toml"), format!("epochs = 1\n{recipe}")).unwrap();
        let said = refused(&place, &format!("{TRAIN} -tr wrong.toml"), 1);
        assert!(said.contains(reason), "{recipe}: {said}");
        assert!(!fold(&place, "wrong").exists(), "{recipe}");
    }
    let said = refused(&place, &TRAIN.replace(" 0 ", " first "), 2);
    assert!(said.contains("fold \"first\" is neither a number"), "{said}");
    let output = place.run(&format!("{} --epochs 1 --iterations-per-epoch 1", TRAIN.replace(" 0 ", " 7 ")));
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("fold 7 was asked for but"), "{said}");
}

/// A class that never occurs has no Dice and spoils none; a case without foreground is learned from like any other.
#[test]
fn absent_classes_and_empty_cases_are_trained_with() {
    let place = Place::new();
    let raw = place.path("raw").join(DATASET);
    let json = std::fs::read_to_string(raw.join("dataset.json")).unwrap();
    std::fs::write(raw.join("dataset.json"), json.replace("\"core\": 2", "\"core\": 2, \"absent\": 3"))
        .unwrap();
    let empty = PhantomDataset { labels: PhantomLabels::Empty, ..PhantomDataset::default() };
    for case in [0, 1] {
        empty.write_case(&raw.join("imagesTr"), &raw.join("labelsTr"), &format!("ball_{case:03}"), case);
    }
    place.prepare();
    let train = TRAIN.replace(" 0 ", " all ");
    place.succeed(&format!("{train} --epochs 1 --iterations-per-epoch 4 --log jsonl"));
    let folder = fold(&place, "nnUNetTrainer_1epoch").with_file_name("fold_all");
    let epoch: Value = serde_json::from_slice(&std::fs::read(folder.join("epochs.jsonl")).unwrap()).unwrap();
    assert_eq!(epoch["pseudo_dice"].as_array().map(Vec::len), Some(3), "{epoch}");
    assert!(epoch["moving_average"].is_f64() && epoch["train_loss"].is_f64(), "{epoch}");
    assert!(folder.join("validation/ball_000.nii.gz").is_file());
}

#[test]
fn plans_for_pretrained_weights_say_that_they_are_not_used() {
    let place = Place::new();
    place.prepare();
    place.write_plans("pretrained", |plans| {
        plans["pretrain_info"] = json!({"checkpoint_path": "/models/encoder.pth"});
    });
    let words = "train 7 3d_fullres 0 -p pretrained --threads 1 --epochs 1 --iterations-per-epoch 1";
    let output = place.run(words);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.matches("made for the pretrained weights /models/encoder.pth, which are not used").count(),
        1
    );
}

#[test]
fn fewer_cases_than_folds_can_only_be_trained_all_together() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    PhantomDataset { cases: 3, ..PhantomDataset::default() }.write(&place.path("raw"), DATASET);
    place.prepare();
    let words = "--epochs 1 --iterations-per-epoch 1";
    let said = refused(&place, &format!("{TRAIN} {words}"), 1);
    assert!(said.contains("3 cases cannot be split into 5 folds; train fold \"all\""), "{said}");
    place.succeed(&format!("{} {words}", TRAIN.replace(" 0 ", " all ")));
}
